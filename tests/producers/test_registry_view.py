"""A process's view of the registry."""

from __future__ import annotations

from crewmem_producers.registry_view import RegistryView
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.sampled_from(["active", "a", "a/", "a/1", "a/1/2", "a/12", "ab/1", "b/1", "/", ""])


@given(st.lists(st.tuples(KEYS, st.none() | st.integers())), KEYS)
def test_a_view_gives_what_a_dictionary_of_all_keys_would(changes: list[tuple[str, int | None]], prefix: str) -> None:
    view, model = RegistryView(), dict[str, dict[str, int]]()
    for key, number in changes:
        if number is None:
            view.remove(key)
            model.pop(key, None)
        else:
            view.put(key, {"n": number})
            model[key] = {"n": number}
    assert view.items(prefix) == {key: value for key, value in model.items() if key.startswith(prefix)}
    for kind in ("a/", "b/"):
        assert list(view.items(kind)) == [key for key in model if key.startswith(kind)], "in the order of writing"
    assert {key: view.get(key) for key in model} == model


def test_asking_for_one_kind_looks_at_no_key_of_another() -> None:
    class Unlooked(str):
        def startswith(self, *arguments: object) -> bool:
            raise AssertionError("it was looked at")

    view = RegistryView()
    for n in range(3):
        view.put(Unlooked(f"datakey/{n}"), {"n": n})
    view.put("generation/g1", {})
    assert view.items("generation/") == {"generation/g1": {}} and view.items("nothing/") == {}


def test_what_was_given_does_not_change_when_more_is_put() -> None:
    view = RegistryView()
    view.put("a/1", {})
    given_ = view.items("a/")
    view.put("a/2", {})
    view.remove("a/1")
    assert list(given_) == ["a/1"] and list(view.items("a/")) == ["a/2"]
