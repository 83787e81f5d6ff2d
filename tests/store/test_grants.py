"""Session patterns, and what each lets a key do."""

from __future__ import annotations

import re

import pytest
from crewmem_producers.errors import SettingsError
from crewmem_store import keys
from crewmem_store.grants import MAX_PATTERNS, Grant, Right, matches, parse
from crewmem_store.keys import Key
from hypothesis import given
from hypothesis import strategies as st


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_a_pattern_matches_what_its_regular_expression_would(pattern: str, session: str) -> None:
    assert matches(pattern, session) is (re.fullmatch(pattern.replace("*", "[ab]*"), session) is not None)


def test_many_stars_cost_no_more_than_their_pieces() -> None:
    for _ in range(1_000):  # a regular expression took 14 s for one of these
        assert not matches("*a" * 90 + "*b", "a" * 200)


def test_a_pattern_may_carry_rights_of_its_own() -> None:
    found = parse(["shared:read", "project_*:read,write", "user:42", "log:write"], rights=["read", "write", "admin"])
    assert found == (
        Grant("shared", (Right.READ,)),
        Grant("project_*", (Right.READ, Right.WRITE)),
        Grant("user:42", (Right.READ, Right.WRITE)),
        Grant("log", (Right.WRITE,)),
    )
    assert [str(one) for one in found] == ["shared:read", "project_*:read,write", "user:42:read,write", "log:write"]


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ([], "at least one session pattern"),
        (["shared:admin"], "--right"),
        (["shared:read,operator"], "--right"),
        (["a:read", "a:write"], "once"),
        ([f"s{n}" for n in range(MAX_PATTERNS + 1)], str(MAX_PATTERNS)),
        ([":read"], "1 to 200 characters"),
        (["x" * 201], "1 to 200 characters"),
    ],
)
def test_a_pattern_that_makes_no_sense_is_refused_with_the_way_out(patterns: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(patterns, rights=["read"])


def test_patterns_are_a_list() -> None:
    with pytest.raises(SettingsError, match="a list"):
        parse("shared:read", rights=["read"])


def made(*patterns: str, rights: tuple[str, ...] = ("read", "write")) -> Key:
    return Key(hash="0" * 64, tenant="acme", name="k", created_at="2026-11-23T00:00:00Z", **keys.granted(patterns, rights))


def test_a_key_does_in_each_session_what_its_pattern_says() -> None:
    key = made("shared:read", "project_*")
    assert key.allows("shared", Right.READ) and not key.allows("shared", Right.WRITE)
    assert key.allows("project_1", Right.READ) and key.allows("project_1", Right.WRITE)
    assert not key.allows("other", Right.READ) and key.may(Right.WRITE) and not key.may(Right.ADMIN)


def test_a_record_says_the_same_after_the_registry() -> None:
    for key in (
        made("shared:read", "p*"),
        made("*"),
        made("a:read", "b:write"),
        made("x", rights=("read", "admin", "operator")),
    ):
        assert Key.parse(f"{keys.PREFIX}{key.hash}", key.record()) == key


def test_a_program_that_knows_no_grants_allows_less_never_more() -> None:
    assert made("shared:read", "project_*").record()["rights"] == (Right.READ,)
    assert made("a:read", "b:write").record()["rights"] == ()
    assert "grants" not in made("a:read", "b:read").record(), "equal rights need no grants"
    assert made("*", rights=("read", "operator")).record()["rights"] == (Right.READ,), "older programs know three rights"


def test_a_right_of_a_newer_program_is_left_out() -> None:
    record = made("*").record() | {"rights": ["read", "paint"]}
    assert Key.parse(f"{keys.PREFIX}{'0' * 64}", record).rights == (Right.READ,)
