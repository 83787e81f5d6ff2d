from dataclasses import replace
from datetime import UTC, datetime

import pytest
import zstandard
from crewmem_producers.codec import decode, encode
from crewmem_producers.errors import InvalidEvent, NewerSchema
from crewmem_producers.events import Event, MemoryRemembered, SessionForgotten
from crewmem_producers.log import LoggedRecord, Record
from crewmem_producers.names import Scope
from hypothesis import given
from hypothesis import strategies as st


def remembered(content: str = "Acme has no API docs", session: str = "p") -> Event:
    return Event(body=MemoryRemembered(content=content), scope=Scope.of("default", session), source="here")


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_an_event_survives_the_way_through_a_record(content: str) -> None:
    event = remembered(content)
    back = decode(encode(event))
    assert (back.id, back.time, back.scope, back.source) == (event.id, event.time, event.scope, event.source)
    assert isinstance(back.body, MemoryRemembered) and back.body.content == content


def replaced(record: Record, name: str, value: bytes | None) -> Record:
    headers = tuple((n, v) for n, v in record.headers if n != name)
    return Record(record.key, record.value, headers + (((name, value),) if value is not None else ()))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record(b"k", None, encode(remembered()).headers), "null_body"),
        (Record(b"k", b"\x00\xff", encode(remembered()).headers), "bad_encoding"),
        (replaced(encode(remembered()), "ce_id", b"\xff\xfe"), "bad_header"),
        (replaced(encode(remembered()), "ce_id", None), "bad_header"),
        (replaced(encode(remembered()), "ce_id", b"two\nlines"), "bad_header"),
        (replaced(encode(remembered()), "ce_id", b"x" * 101), "bad_header"),
        (replaced(encode(remembered()), "ce_time", b"yesterday"), "bad_header"),
        (replaced(encode(remembered()), "ce_type", b"something.else"), "unknown_type"),
        (replaced(encode(remembered()), "content-encoding", b"br"), "bad_encoding"),
        (Record(b"other", encode(remembered()).value, encode(remembered()).headers), "wrong_key"),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(record: Record, reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode(record)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "record",
    [
        replaced(encode(remembered()), "ce_\udcff", b"\xff"),
        replaced(encode(remembered()), "ce_type", "something.\u0085else".encode()),
        replaced(encode(remembered()), "content-encoding", "\U0010ffff".encode() * 100_000),
        replaced(encode(remembered()), "ce_time", b"\xed\xb2\x80"),
        Record(b"k", b'{"schema_version": "\\ud800"}', replaced(encode(remembered()), "content-encoding", None).headers),
        Record(b"k", '{"schema_version": "\ud800"}'.encode("utf-16-le", "surrogatepass"), encode(remembered()).headers[:6]),
    ],
)
def test_what_is_said_of_a_record_that_is_no_event_is_short_text_that_every_store_can_hold(record: Record) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode(record)
    assert 0 < len(str(caught.value).encode()) <= 2_000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16", "utf-32-be"])
def test_half_a_character_in_a_body_of_whatever_encoding_becomes_a_whole_one(encoding: str) -> None:
    record = replaced(encode(remembered()), "content-encoding", None)
    body = '{"schema_version": 1, "tenant": "default", "session": "p", "content": "half \ud800 \\udfff"}'
    event = decode(Record(record.key, body.encode(encoding, "surrogatepass"), record.headers))
    assert event.body.model_dump()["content"] == "half \ufffd \ufffd"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not json", "not_json"),
        (b"[1]", "not_json"),
        (b'{"schema_version": 1, "tenant": "default", "session": "p"}', "wrong_schema"),
        (b'{"schema_version": "1", "tenant": "default", "session": "p", "content": "x"}', "wrong_schema"),
        (b'{"schema_version": 1, "tenant": "default", "session": " p ", "content": "x"}', "wrong_schema"),
    ],
)
def test_a_body_that_is_not_of_its_type_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    record = replaced(encode(remembered()), "content-encoding", None)
    with pytest.raises(InvalidEvent) as caught:
        decode(Record(record.key, body, record.headers))
    assert caught.value.reason == reason


def test_a_body_of_a_newer_version_is_told_from_a_bad_one() -> None:
    record = replaced(encode(remembered()), "content-encoding", None)
    with pytest.raises(NewerSchema):
        decode(Record(record.key, b'{"schema_version": 2, "tenant": "default", "session": "p"}', record.headers))


def test_an_upcaster_makes_the_next_version_of_an_old_body() -> None:
    record = replaced(encode(remembered()), "content-encoding", None)
    old = b'{"schema_version": 1, "tenant": "default", "session": "p", "words": "from before"}'
    upcasters = {(MemoryRemembered.type, 1): lambda body: {**body, "content": body["words"]}}
    event = decode(Record(record.key, old, record.headers), upcasters=upcasters)
    assert isinstance(event.body, MemoryRemembered)
    assert event.body.content == "from before" and event.body.schema_version == 2


def test_unknown_fields_are_kept() -> None:
    event = Event(body=MemoryRemembered(content="x", later="yes"), scope=Scope.of("default", "p"))  # type: ignore[call-arg]
    assert decode(encode(event)).body.model_extra == {"later": "yes"}


def test_a_forgotten_session_is_named_by_the_records_key_alone() -> None:
    key = Scope.of("acme", "ann@example.com").key
    record = encode(Event(body=SessionForgotten(erased_keys=["k1"]), scope=None, record_key=key))
    assert record.key == key.encode()
    assert b"ann" not in zstandard.ZstdDecompressor().decompress(record.value or b"")
    event = decode(record)
    assert (event.scope, event.key, event.record_key) == (None, key, key)


@pytest.mark.parametrize("key", [None, b"", b"acme", b"acme/ann", b"ACME/" + b"0" * 32])
def test_a_forgotten_session_without_the_key_of_one_is_refused(key: bytes | None) -> None:
    record = encode(Event(body=SessionForgotten(), scope=None, record_key="acme/" + "0" * 32))
    with pytest.raises(InvalidEvent) as caught:
        decode(replace(record, key=key))
    assert caught.value.reason == "wrong_key"


LOGGED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def logged(record: Record, at: datetime | int) -> LoggedRecord:
    milliseconds = at if isinstance(at, int) else int(at.timestamp() * 1000)
    return LoggedRecord(0, 1, record.key, record.value, record.headers, milliseconds)


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "2026-01-03T03:04:05.000001Z"])
def test_a_time_more_than_a_day_after_the_logs_own_is_the_logs_own(time: str) -> None:
    record = encode(remembered())
    event = decode(logged(replaced(record, "ce_time", time.encode()), LOGGED_AT))
    assert event.time == LOGGED_AT


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2026-01-03T03:04:05Z"])
def test_a_time_of_the_past_and_a_clock_that_is_a_day_fast_stay_as_they_are(time: str) -> None:
    record = encode(remembered())
    event = decode(logged(replaced(record, "ce_time", time.encode()), LOGGED_AT))
    assert event.time == datetime.fromisoformat(time)


@pytest.mark.parametrize("milliseconds", [0, -1, 1 << 62])
def test_a_log_that_says_no_time_clamps_nothing(milliseconds: int) -> None:
    record = encode(remembered())
    assert decode(logged(record, milliseconds)).time == decode(record).time
