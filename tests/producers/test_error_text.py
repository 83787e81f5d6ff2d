"""What is said of an exception holds no key, and says what was wrong."""

import random
import string

import pytest
from crewmem_producers.error_text import MOST_READ, error_text

DICE = random.Random(7)


def some(length: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(DICE.choice(letters) for _ in range(length - 2)) + "a7"


SECRETS = [
    f"sk-proj-{some(48)}", f"sk-ant-api03-{some(40)}", f"ghp_{some(36)}", f"hf_{some(34)}",
    f"AKIA{some(16, string.ascii_uppercase)}",
    f"AIza{some(35)}", f"xoxb-{some(12, string.digits)}-{some(24)}", f"am_live_{some(32, string.hexdigits)}",
    f"glpat-{some(20)}", f"eyJ{some(30)}.eyJ{some(40)}.{some(43)}", some(40), some(32, "0123456789abcdef"),
]  # fmt: skip
FORMS = [
    "Error code: 401 - {{'error': {{'message': 'Incorrect API key provided: {0}. You can find your API key at https://x.ai'}}}}",
    "AuthenticationError: invalid x-api-key {0}",
    "401 Client Error for url: https://api.example.com/v1?api_key={0}&q=1",
    "could not connect to postgresql://admin:{0}@db:5432/app",
    "request failed, headers={{'Authorization': 'Bearer {0}'}}",
    'body: {{"password": "{0}", "user": "u"}}',
    "CREWMEM_API_KEY={0}",
]
SHORT = ["hunter2", "Tr0ub4dor&3", "pass-word"]
SHORT_FORMS = ["postgres://u:{0}@h/db", "password={0}", "'password': '{0}'", "PGPASSWORD: {0}", "Authorization: Basic {0}x"]
HARMLESS = [
    "The model `gpt-4o-mini-2024-07-18` does not exist or you do not have access to it.",
    "Agent's guardrail failed validation after 3 retries. Last error: too short",
    "[Errno 2] No such file or directory: '/usr/lib/python3.11/site-packages/crewai/memory/unified_memory.py'",
    "Rate limit reached for gpt-4o in organization on tokens per min (TPM): Limit 30000, Used 28123, Requested 4000.",
    "1 validation error for Findings\nprices\n  Input should be a valid list [type=list_type, input_value='x', input_type=str]",
    "https://api.openai.com/v1/chat/completions answered 500",
    "max_tokens is too large: 99999. This model supports at most 16384 completion tokens",
    "event 0197a6f2-5c1e-7d4b-9a3c-2f8e1d0b4c6a was refused",
    "KeyError: 'topic'",
    "max_tokens=4096, tokens: 12",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", SECRETS)
def test_no_key_is_in_it(secret: str, form: str) -> None:
    said = error_text(ValueError(form.format(secret)), max_characters=2_000)
    assert secret not in said and secret[12:] not in said and "[removed]" in said


@pytest.mark.parametrize("form", SHORT_FORMS)
@pytest.mark.parametrize("secret", SHORT)
def test_nor_a_password_that_is_named_as_one(secret: str, form: str) -> None:
    assert secret not in error_text(ValueError(form.format(secret)), max_characters=200)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_key_stays(text: str) -> None:
    assert error_text(ValueError(text), max_characters=2_000) == text


def test_a_key_at_the_cut_leaves_no_part_of_itself() -> None:
    secret = some(48)
    assert secret[:16] not in error_text(ValueError("x" * 180 + " " + secret), max_characters=200)


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_without_a_text_is_none() -> None:
    assert error_text(Broken(), max_characters=200) == ""


HOSTILE = [
    "key",
    "password:",
    "token=",
    "a://",
    "eyJ",
    "sk-",
    "Bearer ",
    "key " + " " * 30,
    "a" * 16,
    "key:   ",
    "key" + "-" * 20,
]


@pytest.mark.timeout(30)  # these take milliseconds
@pytest.mark.parametrize("literal", HOSTILE)
def test_no_text_takes_long(literal: str) -> None:
    repeated = literal * (MOST_READ // len(literal) + 1)
    for text in (repeated, literal + " " * 10_000, repeated[:-1] + "\u00e9"):
        error_text(ValueError(text), max_characters=2_000)
