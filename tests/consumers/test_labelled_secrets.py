"""How much redaction finds and how much it leaves alone, over labelled texts."""

from crewmem_consumers.redaction import redact_text
from support.labelled_texts import harmless_texts, left_over, secret_texts

LEAST_RECALL = 0.95
MOST_CHANGED = 0.01


def test_the_labelled_texts_are_many_and_of_many_kinds() -> None:
    secrets, harmless = secret_texts(), {one.text for one in harmless_texts()}
    assert sum(len(one.secrets) for one in secrets) >= 250 and len({one.kind for one in secrets}) >= 60
    assert len(harmless) >= 500
    assert all(one.secrets for one in secrets) and secret_texts() == secrets


def test_nearly_every_secret_is_found() -> None:
    missed = [(one.kind, one.text) for one in secret_texts() for _ in left_over(one, redact_text(one.text))]
    found = 1 - len(missed) / sum(len(one.secrets) for one in secret_texts())
    assert found >= LEAST_RECALL, (found, missed)


def test_harmless_texts_stay_as_they_are() -> None:
    texts = [one.text for one in harmless_texts()]
    changed = [(text, redacted) for text in texts if (redacted := redact_text(text)) != text]
    assert len(changed) / len(texts) <= MOST_CHANGED, changed


def test_redacting_labelled_texts_twice_changes_nothing_more() -> None:
    for one in secret_texts():
        once = redact_text(one.text)
        assert redact_text(once) == once, once
