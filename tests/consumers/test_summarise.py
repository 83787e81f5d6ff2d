from crewmem_consumers.sentences import sentences
from crewmem_consumers.summarise import SUMMARISER, rank
from crewmem_store.embedder_hashing import HashingEmbedder
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pipeline import Pipeline, kickoff, remember

LEAD = "version: 1\nrules:\n  - {name: all, action: keep, with: {summary: lead}}\n"
FILLER = [f"And so it is that this is what it is and was, as it is with all of them for the {n}th time." for n in range(40)]
TOPIC = [f"Acme raised prices across region{n}, angering resellers." for n in range(6)]


def extract_of(output: str, *, rules: str | None = None, window: int = 100) -> str:
    pipeline = Pipeline(rules=rules, embedder=HashingEmbedder(window_tokens=window))
    pipeline.run(kickoff(output))
    [row] = pipeline.rows()
    assert row.summariser == SUMMARISER and row.content == output.strip()
    return (row.text or "").partition("): ")[2]


def test_a_span_that_fits_the_window_is_its_own_extract() -> None:
    output = "First sentence.  Second\n\nsentence with   odd space."
    assert extract_of(output) == output


def test_of_a_longer_one_the_best_sentences_are_taken_in_their_order() -> None:
    mixed = [part for pair in zip(FILLER[:6], TOPIC, strict=True) for part in pair] + FILLER[6:]
    extract = extract_of(" ".join(mixed))
    assert all(sentence in extract for sentence in TOPIC)
    places = [" ".join(mixed).index(extract[start:end].strip()) for start, end in sentences(extract)]
    assert places == sorted(places)


def test_a_rule_can_take_the_first_sentences_instead() -> None:
    output = " ".join(FILLER)
    assert output.startswith(extract_of(output, rules=LEAD))


def test_a_single_sentence_that_is_too_long_is_kept_as_it_is() -> None:
    output = "word " * 500 + "end."
    assert extract_of(output) == output


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(FILLER + TOPIC), min_size=1, max_size=60), st.integers(min_value=20, max_value=120))
def test_the_text_fits_the_window_and_comes_from_the_span(parts: list[str], window: int) -> None:
    output = " ".join(parts)
    pipeline = Pipeline(embedder=HashingEmbedder(window_tokens=window))
    pipeline.run(remember(output, agent_role="Writer"))
    text = pipeline.rows()[0].text or ""
    extract = text.partition("): ")[2]
    assert all(extract[start:end].strip() in output for start, end in sentences(extract))
    if extract != output:
        assert pipeline.embedder.count_tokens([text])[0] <= window


def test_a_sentence_that_says_much_for_its_length_ranks_above_one_that_does_not() -> None:
    scores = rank([*FILLER, *TOPIC])
    assert min(scores[len(FILLER) :]) > max(scores[: len(FILLER)])
