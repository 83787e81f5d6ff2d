"""Who sees a private memory, and what it may stand for."""

from __future__ import annotations

from typing import Any

import pytest
from crewmem_producers.privacy import is_private, private_key, visible

ALICES = {"private": True, "source": "alice"}


@pytest.mark.parametrize("metadata", [{}, {"private": False}, {"private": "true"}, {"private": 1}, {"source": "alice"}])
def test_what_does_not_say_so_is_not_private(metadata: dict[str, Any]) -> None:
    assert not is_private(metadata)
    assert visible(metadata, source=None, include_private=False)


def test_a_private_one_is_seen_by_its_source_or_by_who_includes_all() -> None:
    assert visible(ALICES, source="alice", include_private=False)
    assert visible(ALICES, source=None, include_private=True)
    for source in (None, "", "bob", "Alice"):
        assert not visible(ALICES, source=source, include_private=False)


def test_one_without_a_source_is_not_seen_by_who_names_none() -> None:
    for metadata in ({"private": True}, {"private": True, "source": None}):
        for source in (None, "", "None"):
            assert not visible(metadata, source=source, include_private=False)


def test_each_source_has_keys_of_its_own() -> None:
    owners: list[dict[str, Any]] = [
        ALICES,
        {"private": True, "source": "bob"},
        {"private": True},
        {"private": True, "source": 1},
    ]
    keys = {private_key(metadata, "salary") for metadata in owners} | {private_key(ALICES, "address")}
    assert len(keys) == 5 and "salary" not in keys
    assert private_key(ALICES, "salary") == private_key(dict(ALICES), "salary")
