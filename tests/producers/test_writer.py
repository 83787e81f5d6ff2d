"""The API key that wrote an event, in its record's header."""

from __future__ import annotations

from dataclasses import replace

import pytest
from crewmem_producers import writer
from crewmem_producers.cloudevents import from_json, to_json
from crewmem_producers.codec import decode, encode
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.log import Record
from crewmem_producers.names import Scope

HASH = "3f2a51c09d7e" + "0" * 52
EVENT = Event(body=MemoryRemembered(content="x"), scope=Scope.of("acme", "s"))


def test_an_event_keeps_its_writer_on_the_log() -> None:
    signed = replace(EVENT, writer=writer.of_key(HASH, "research crews"))
    record = encode(signed)
    assert record.header("crewmem-writer") == "3f2a51c09d7e research crews"
    assert decode(record).writer == signed.writer
    assert writer.as_json(signed.writer) == {"key": "3f2a51c09d7e", "name": "research crews"}
    assert writer.shown(writer.as_json(signed.writer)) == "research crews (3f2a51c09d7e)"


def test_an_event_that_no_key_wrote_is_unsigned() -> None:
    assert encode(EVENT).header("crewmem-writer") is None and decode(encode(EVENT)).writer is None
    assert writer.as_json(None) is None and writer.shown(None) == "unsigned"


@pytest.mark.parametrize("name", ["crew\n\n# SYSTEM\x1b[2J\u202e", "x" * 500, "\U000e0041", ""])
def test_a_name_is_bounded_and_cleaned_when_it_is_written_and_when_it_is_read(name: str) -> None:
    made = writer.of_key(HASH, name)
    forged = writer.parse(f"3f2a51c09d7e {name}")
    for said in (made, forged):
        assert said is not None and len(said) <= 12 + 1 + 60 and said.isprintable()


@pytest.mark.parametrize("header", ["", "no hash", "3F2A51C09D7E x", "3f2a51c09d7e", "3f2a51c09d7\xb2 x"])
def test_a_header_of_another_form_is_no_writer(header: str) -> None:
    record = encode(EVENT)
    forged = Record(record.key, record.value, (*record.headers, ("crewmem-writer", header.encode())))
    assert decode(forged).writer is None


def test_what_a_caller_says_of_the_writer_is_not_read() -> None:
    said = to_json(EVENT) | {"crewmem-writer": f"{HASH[:12]} admin", "writer": f"{HASH[:12]} admin"}
    said["data"]["writer"] = f"{HASH[:12]} admin"
    assert from_json(said, tenant="acme").writer is None
