"""What `crewmem dlq show` prints of a letter's body: as much as can be read, and why no more."""

from __future__ import annotations

import json

import pytest
from consumers.test_newer_schemas import Keys
from crewmem.cli.letter_text import described, shortened
from crewmem_producers.errors import InvalidEvent, KeyErased, KeyMissing
from crewmem_producers.log import LoggedRecord
from support.keyrings import plain_keyring
from support.logged import remembered_record


def logged(value: bytes | None, *headers: tuple[str, bytes]) -> LoggedRecord:
    return LoggedRecord(0, 1, b"acme/1", value, (("ce_id", b"e1"), *headers), 0)


def test_a_body_of_json_is_shown_unpacked_and_indented() -> None:
    record = remembered_record(3)
    shown = described(LoggedRecord(0, 1, record.key, record.value, record.headers, 0), keyring=plain_keyring())
    assert json.loads(shown["body"])["session"] == "s" and "\n" in shown["body"]
    assert ("ce_type", "crewmem.memory.remembered") in shown["headers"]


@pytest.mark.parametrize(
    ("value", "headers", "said"),
    [
        (None, (), "it has no body"),
        (b"no json", (), "no json"),
        (b"\x00\xff", (), "00ff"),
        (b"\x00" * 600, (), "00 ... and 88 bytes more"),
        (b"abc", (("content-encoding", b"zstd"),), "it cannot be unpacked"),
        (b"abc", (("content-encoding", b"br"),), "its bytes: 616263"),
    ],
)
def test_a_body_that_is_no_json_is_shown_as_what_it_is(
    value: bytes | None, headers: tuple[tuple[str, bytes], ...], said: str
) -> None:  # fmt: skip
    assert said in described(logged(value, *headers), keyring=plain_keyring())["body"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyErased("gone"), "nobody can read it any more"),
        (KeyMissing("the data key 7 is not in the registry"), "without its key: the data key 7"),
        (InvalidEvent("not what was sealed", reason="bad_seal"), "cannot be opened: not what was sealed"),
    ],
)
def test_of_a_sealed_body_that_cannot_be_opened_the_reason_is_shown_and_no_byte(error: Exception, said: str) -> None:
    shown = described(logged(b"sealed bytes"), keyring=Keys(e1=error))
    assert said in shown["body"] and "sealed bytes" not in shown["body"]


def test_a_long_reason_is_cut_for_a_table() -> None:
    assert shortened("short") == "short"
    assert len(shortened("x" * 500)) == 100 and shortened("x" * 500).endswith("…")
