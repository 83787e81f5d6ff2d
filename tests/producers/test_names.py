import pytest
from crewmem_producers.errors import InvalidName
from crewmem_producers.names import Scope, memory_id, normalise_session, partition_of
from hypothesis import given
from hypothesis import strategies as st

SESSIONS = st.text(min_size=1, max_size=60).filter(
    lambda text: bool(text.split()) and text.strip() != "*" and all(c.isprintable() for c in text)
)


@given(SESSIONS)
def test_normalising_twice_changes_nothing(name: str) -> None:
    assert normalise_session(normalise_session(name)) == normalise_session(name)


def test_a_yaml_role_with_its_newline_is_the_role_typed_in_python() -> None:
    assert normalise_session("Senior\n Researcher\n") == "Senior Researcher"


@pytest.mark.parametrize(
    "name", ["", "  ", "*", "a\x00b", "x" * 201, None, 7, "a" + "\u0301" * 31, "\u0301\u0316" * 40_000, " " * 2000 + "a"]
)
def test_a_name_that_cannot_be_used_is_refused(name: object) -> None:
    with pytest.raises(InvalidName):
        normalise_session(name)


@given(SESSIONS, SESSIONS)
def test_two_sessions_have_one_scope_only_if_they_are_the_same(a: str, b: str) -> None:
    same = normalise_session(a) == normalise_session(b)
    assert (str(Scope.of("t", a)) == str(Scope.of("t", b))) is same
    assert (Scope.of("t", a).key == Scope.of("t", b).key) is same


@given(SESSIONS)
def test_a_scope_is_read_back_from_its_text(name: str) -> None:
    assert Scope.parse(str(Scope.of("t-1", name))) == Scope.of("t-1", name)


def test_partitions_are_those_of_apache_kafka() -> None:
    # What org.apache.kafka.common.utils.Utils.murmur2 gives, from Kafka's own UtilsTest.
    from crewmem_producers.names import _murmur2

    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    assert {data: _murmur2(data) for data in known} == {data: number & 0xFFFFFFFF for data, number in known.items()}
    assert partition_of("foobar", 12) == (-790332482 & 0x7FFFFFFF) % 12


def test_a_memory_id_starts_with_its_partition() -> None:
    assert memory_id(7, "t/s", "e", "content").startswith("7-")
    assert len(memory_id(7, "t/s", "e", "content")) == 2 + 32
