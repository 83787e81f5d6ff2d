"""What updates mean for one row; most of it is held to by the store's conformance suite."""

from __future__ import annotations

from crewmem_producers.names import record_key
from crewmem_store import effects
from store.store_rows import ALICE, marker, memory


def test_only_what_an_erasure_wrote_is_a_marker() -> None:
    assert effects.is_marker(marker(1))
    assert not effects.is_marker(memory(1, kind="erasure", span="session"))


def test_a_row_at_or_after_its_sessions_erasure_is_left_as_it_is() -> None:
    below = effects.erasures([marker(5), marker(3)])
    assert below == {record_key(ALICE): 5}
    late, early = memory(5), memory(4)
    assert effects.effective(late, below) is late
    assert effects.effective(early, below).text is None
