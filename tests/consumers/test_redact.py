import re

import pytest
from crewmem_consumers import secrets
from crewmem_consumers.redaction import redact_text, redact_value
from crewmem_producers.limits import KIND_PATTERN, NAME_CHARACTERS
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pipeline import Pipeline, kickoff, remember

PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA75N\n" * 60 + "\n-----END RSA PRIVATE KEY-----"
SECRETS = [
    "am_live_0123456789abcdef0123456789abcdef",
    "sk-proj-abcdefghijklmnopqrstuvwx0123456789",
    "sk-ant-api03-abcdefghijklmnopqrstuvwxyz-0123456789AA",
    "AIza" + "Sy0123456789abcdefghijklmnopqrstuvw",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2" * 10,
    "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "hf_" + "abcdEFGH1234abcdEFGH1234",
    "gsk_" + "abcdEFGH1234abcdEFGH1234",
    "AKIAIOSFODNN7EXAMPLE",
    "xoxb-123456789012-1234567890123-abcdefghijklmnop",
    "sk_live_" + "0123456789abcdefghijklmn",
    "SG." + "a" * 22 + "." + "b" * 43,
    "npm_" + "a1B2" * 9,
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "tvly-abcdefgh12345678abcd",
    PRIVATE_KEY,
]


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret[:12])
@pytest.mark.parametrize(
    "around", ["{}", "the key is {}, keep it", 'KEY="{}"', "({})", "line\n{}\nline", "https://x.example/?k={}&a=1"]
)
def test_keys_tokens_and_private_keys_go(secret: str, around: str) -> None:
    text = redact_text(around.format(secret))
    assert secret not in text and "[redacted: " in text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("password=hunter2", "hunter2"),
        ("Password: correct-horse", "correct-horse"),
        ('{"db_password": "p4ss word"}', "p4ss word"),
        ("DB_PASSWORD='a b c'", "a b c"),
        ("api_key = 12ab34cd", "12ab34cd"),
        ('"client_secret": "s3cr3t!"', "s3cr3t!"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
        ("**Password**: `hunter2!`", "hunter2!"),
        ("the password is 'hunter2'", "hunter2"),
        ("(shared drive: password=Tr0ub4dor3x9Q)", "Tr0ub4dor3x9Q"),
        ("The wiki password is Tr0ub4dor&3x9.", "Tr0ub4dor&3x9"),
        ("My password is hunter2", "hunter2"),
        ("The password for the wiki is Tr0ub4dor&3x9.", "Tr0ub4dor&3x9"),
        ("The password has been set to Tr0ub4dor&3x9", "Tr0ub4dor&3x9"),
        ("log in with the password Tr0ub4dor3x9 there", "Tr0ub4dor3x9"),
        ("| password | hunter2 |", "hunter2"),
        ("<password>hunter2</password>", "hunter2"),
        ("Das Passwort lautet: geheim123", "geheim123"),
        ("PASS=hunter2", "hunter2"),
        ("export SECRET=abc123def", "abc123def"),
        ("token: abc123def456", "abc123def456"),
        ("credentials: bob:hunter2", "hunter2"),
        ("Use API key 8f3a9b2c1d4e5f60a7 for it", "8f3a9b2c1d4e5f60a7"),
        ("The API token is a1b2c3d4e5f6g7.", "a1b2c3d4e5f6g7"),
        ("curl -u bob:hunter2 https://x.example", "hunter2"),
        ("sshpass -p hunter2 ssh host", "hunter2"),
        ("Authorization: Bearer abcdefghijklmnop0123", "abcdefghijklmnop0123"),
        ("curl -H 'authorization: bearer abcdefghijklmnop0123'", "abcdefghijklmnop0123"),
        ("postgres://user:p4ss@db.example/crew", "p4ss"),
        ("https://u:pa%24s@host/x", "pa%24s"),
        ("https://api.example/v1?api_key=0a1b2c3d4e&x=1", "0a1b2c3d4e"),
    ],
)
def test_passwords_and_tokens_go_by_what_they_are_called(text: str, secret: str) -> None:
    assert secret not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "Key findings: Acme has no API documentation.",
        "The token usage was 50,000 tokens, total_tokens=1500.",
        "Their secret: they answer within an hour.",
        "See https://acme.example/pricing?plan=pro and call 555 1234.",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b, id 0190f1a2-7c3d-7e8f-9a0b-1c2d3e4f5a6b",
        "Basic plans cost $49; the bearer of the card gets 10 percent off.",
        "The key: be quick. Passwords are hashed.",
        "The password is rotated every 30 days, the api key is optional.",
        "The password reset is described at https://acme.example/v2/reset, the API key is free until 2026-12-01T00:00.",
        "Price per token: $0.002/1k, per secret: 5/month.",
        "A password manager costs $3 a month; access tokens are valid for 24h.",
        "skills-based task-force risk-averse",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text


@given(st.sampled_from(SECRETS), st.text(alphabet="ab .\n:='\"", max_size=40), st.text(alphabet="ab .\n:='\"", max_size=40))
def test_redacting_twice_changes_nothing_more(secret: str, before: str, after: str) -> None:
    once = redact_text(f"{before} {secret} {after}")
    assert secret not in once and redact_text(once) == once


def test_metadata_is_redacted_by_value_and_by_name() -> None:
    value = {
        "note": "password=hunter2", "password": "plain", "nested": [{"api_key": "xyz"}, 7, None], "fine": "text",
        "pin_password": 4711, "passwords": ["one", "two"], "token": "abc", "secret": {"about": "text"}, "db_password": None,
    }  # fmt: skip
    assert redact_value(value) == {
        "note": "password=[redacted: password]",
        "password": "[redacted: password]",
        "nested": [{"api_key": "[redacted: password]"}, 7, None],
        "fine": "text",
        "pin_password": "[redacted: password]",
        "passwords": ["[redacted: password]"] * 2,
        "token": "[redacted: password]",
        "secret": {"about": "text"},
        "db_password": None,
    }


def stored_bytes(pipeline: Pipeline) -> str:
    return repr([pipeline.rows(), pipeline.ledger()])


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret[:12])
def test_no_secret_reaches_the_store_by_any_field(secret: str) -> None:
    """A name has 200 characters at most, so no private key."""
    pipeline, kind = Pipeline(), secret if re.fullmatch(KIND_PATTERN, secret) else "note"
    name = secret if len(secret) <= NAME_CHARACTERS else SECRETS[0]
    pipeline.run(
        remember(
            f"The key is {secret} today", metadata={"a": {"b": [secret]}, secret: 1}, key=name, kind=kind, speaker=name,
            agent_role=f"Role {name}", crew=name, parent=name,
        ),
        kickoff(f"Key findings: use {secret} there", number=1, inputs={"token": secret}, crew=name, crew_key=name),
    )  # fmt: skip
    assert pipeline.outcomes() == ["stored", "stored"]
    assert secret not in stored_bytes(pipeline) and secret[:40] not in stored_bytes(pipeline)


@settings(max_examples=40, deadline=None)
@given(st.integers(min_value=3_900, max_value=4_100), st.sampled_from(["x", "word ", "A sentence. "]))
def test_a_secret_that_the_splitter_cuts_through_goes_from_both_pieces(length: int, filler: str) -> None:
    pipeline = Pipeline()
    before = (filler * length)[:length]
    pipeline.run(kickoff(f"{before}{PRIVATE_KEY}{(filler * 3000)[:3000]}"))
    assert "MIIEpAIB" not in stored_bytes(pipeline)


def test_personal_data_goes_where_a_rule_says_so() -> None:
    said = "Write to ann@acme.example, call +49 30 1234567, pay to DE89 3704 0044 0532 0130 00."
    rules = "version: 1\nrules:\n  - {name: all, action: keep, with: {redaction: personal}}\n"
    pipeline = Pipeline(rules=rules)
    pipeline.run(kickoff(said))
    assert pipeline.rows()[0].content == (
        "Write to [redacted: e-mail address], call [redacted: phone number], pay to [redacted: iban]."
    )
    plain = Pipeline()
    plain.run(kickoff(said))
    assert plain.rows()[0].content == said


def test_an_agents_thoughts_before_its_final_answer_are_left_out() -> None:
    pipeline = Pipeline()
    pipeline.run(kickoff("Thought: I now know\nFinal Answer: Acme charges $49."))
    assert pipeline.rows()[0].content == "Acme charges $49."


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        "a:",
        "://",
        "=",
        "-----BEGIN PRIVATE KEY-----",
        "password=",
        "a@",
        "1 2 ",
        "eyJ",
        "sk-",
        "password ",
        "password is ",
        "api key ",
        "curl -u a:",
    ],
)
def test_no_text_is_a_trap_for_the_detectors(unit: str) -> None:
    secrets.find((unit * 12_000)[:12_000], personal=True)
