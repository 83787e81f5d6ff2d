"""What is kept for a version: found again, made anew for another one, and let go of in time."""

from __future__ import annotations

from crewmem_store.version_cache import ENTRY_BYTES, NAME_BYTES, VersionCache, names_size


def test_a_value_is_made_once_a_version() -> None:
    cache, made = VersionCache(1_000_000), list[str]()

    def get(key: str, version: int) -> str:
        def make() -> str:
            made.append(f"{key}{version}")
            return made[-1]

        return cache.get(key, version, make, len)

    assert [get("a", 1), get("a", 1), get("b", 1), get("a", 2), get("a", 2)] == ["a1", "a1", "b1", "a2", "a2"]
    assert made == ["a1", "b1", "a2"]


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = VersionCache(3 * (ENTRY_BYTES + NAME_BYTES + 1))
    made = list[str]()

    def use(*keys: str) -> None:
        for key in keys:
            cache.get(key, 1, lambda key=key: made.append(key), lambda value: 0)  # type: ignore[misc]

    use("a", "b", "c", "a", "d", "a", "c", "b")
    assert made == ["a", "b", "c", "d", "b"]


def test_the_names_in_a_key_count_and_what_is_too_large_is_not_kept() -> None:
    cache, large = VersionCache(10_000), (7, frozenset(f"acme/{'x' * 90}{n}" for n in range(50)))
    assert names_size(large[1]) > 9_500
    assert cache.get(large, 1, object, _nothing) is not cache.get(large, 1, object, _nothing)
    assert cache._bytes == 0


def _nothing(value: object) -> int:
    return 0
