"""The law of isolation: no way to ask gives, or is ranked by, a memory that the key may not read.

Each question is asked twice: of a service that holds everything, and of one that holds only what was asked for and may be
read. The answers must be the same to the last digit.
"""

from __future__ import annotations

import asyncio
import fnmatch
import itertools
import json
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from crewmem_producers.cloudevents import to_json
from crewmem_producers.events import Event, KickoffCompleted, MemoryRemembered, TaskOutput
from crewmem_producers.names import Scope
from hypothesis import given, settings
from hypothesis import strategies as st
from support.service import NOON, Stack, refused_with, running_stack

TENANTS = ("acme", "acme-2")
FAMILIES = (
    ("run-1", "run-10", "run-1/", "RUN-1"),
    ("a", "a/b", "a%2Fb", "A", "[a]"),
    ("shared", "acme/shared", "shared2", "sharedx"),
    ("e\u0301", "e", "\u00e9\u00e9", "\u65e5\u672c"),
)
"""Names that are easily taken for one another; each example keeps to one family, so that they meet."""
PATTERNS = (("*",), ("*",), ("run-1", "a", "shared", "e*"), ("run-1*", "a/*", "sha*", "\u00e9"), ("*/*", "A", "[a]"))
WORDS = ("price", "acme", "api", "docs", "blue", "door", "launch")
CONTENTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)


@dataclass(frozen=True)
class Written:
    tenant: str
    session: str
    content: str
    parent: str | None
    kickoff: bool


def written_in(family: Sequence[str]) -> st.SearchStrategy[list[Written]]:
    one = st.builds(
        Written, st.sampled_from(TENANTS), st.sampled_from(family), CONTENTS, st.sampled_from([None, "k1"]), st.booleans()
    )
    return st.lists(one, min_size=2, max_size=12)


CASES = st.sampled_from(FAMILIES).flatmap(lambda family: st.tuples(written_in(family), st.sampled_from(family)))


def event(number: int, written: Written) -> Event:
    """The same event in both services: its id is its number."""
    common: dict[str, Any] = {"parent": written.parent}
    body: MemoryRemembered | KickoffCompleted = MemoryRemembered(
        content=f"{written.content} {number}", metadata={"n": number % 2}, **common
    )
    if written.kickoff:
        tasks = [TaskOutput(index=i, raw=f"{written.content} {number} {i}", agent_role="Researcher") for i in range(2)]
        body = KickoffCompleted(crew="crew", raw="", tasks=tasks, execution_id=f"x{number % 3}", **common)
    time = NOON - timedelta(hours=number)
    return Event(body=body, scope=Scope.of(written.tenant, written.session), id=f"event-{number}", time=time)


def may_read(patterns: Sequence[str], session: str) -> bool:
    """Written anew here, so that it shares no mistake with the service: only `*` is special."""
    name = unicodedata.normalize("NFC", session)
    return any(fnmatch.fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]")) for pattern in patterns)


HOW: dict[str, Callable[[str], dict[str, Any]]] = {
    "one": lambda session: {"session": session},
    "two": lambda session: {"session": [session, "shared"]},
    "all": lambda session: {"session": "*"},
    "none": lambda session: {},
}

Ask = Callable[[Stack, str], Awaitable[Any]]


def recalling(fields: dict[str, Any]) -> Ask:
    async def ask(stack: Stack, key: str) -> Any:
        body = {"q": "acme api price", "top_k": 100, "explain": True, "wait_seconds": 20, **fields}
        post = await stack.call("POST", "/v1/memory/recall", key=key, json=body)
        get = await stack.call("GET", "/v1/memory/recall", key=key, params={k: v for k, v in body.items() if k != "metadata"})
        if "metadata" not in fields:
            assert get.json() == post.json()
        return post.status_code, post.json()

    return ask


def listing(query: dict[str, Any]) -> Ask:
    async def ask(stack: Stack, key: str) -> Any:
        answers = []
        for offset in itertools.count(0, 3):
            params = {"limit": 3, "offset": offset, **query}
            answers.append((await stack.call("GET", "/v1/memory/list", key=key, params=params)).json())
            if len(answers[-1].get("memories", [])) < 3:
                return answers

    return ask


def ways(asked: dict[str, Any]) -> list[Ask]:
    """Every way to ask for these sessions."""
    some: list[dict[str, Any]] = [
        {}, {"after": "latest"}, {"as_of": (NOON - timedelta(hours=3)).isoformat()}, {"kind": "note"}, {"crew": "crew"},
        {"agent_role": "Researcher"}, {"metadata": {"n": 1}}, {"since": (NOON - timedelta(hours=4)).isoformat()},
        {"until": NOON.isoformat()}, {"threshold": 0.3}, {"top_k": 1}, {"format": "context", "max_tokens": 60},
    ]  # fmt: skip
    return [*(recalling(fields | asked) for fields in some), listing(asked)]


def sessions_of(asked: dict[str, Any]) -> list[str]:
    named = asked.get("session", "shared")
    return named if isinstance(named, list) else [named]


async def answers(folder: Path, events: Sequence[Event], *, tenant: str, patterns: Sequence[str], asked: dict[str, Any]) -> Any:
    async with running_stack(folder) as stack:
        await stack.append(*events)
        await stack.consume()
        key = await stack.key(tenant=tenant, sessions=patterns)
        return [await ask(stack, key) for ask in ways(asked)]


@settings(max_examples=30)
@given(
    case=CASES, tenant=st.sampled_from(TENANTS), patterns=st.sampled_from(PATTERNS),
    how=st.sampled_from(list(HOW)),
)  # fmt: skip
def test_what_others_hold_changes_no_answer(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[list[Written], str], tenant: str, patterns: tuple[str, ...], how: str
) -> None:
    written, session = case
    asked: dict[str, Any] = HOW[how](session)
    events = [(event(number, one), one) for number, one in enumerate(written)]
    names = {unicodedata.normalize("NFC", name) for name in sessions_of(asked)}
    mine = [
        made
        for made, one in events
        if one.tenant == tenant
        and may_read(patterns, one.session)
        and (names == {"*"} or unicodedata.normalize("NFC", one.session) in names)
    ]

    async def both() -> tuple[Any, Any]:
        folder = tmp_path_factory.mktemp("law")
        (folder / "all").mkdir()
        (folder / "mine").mkdir()
        given: dict[str, Any] = {"tenant": tenant, "patterns": patterns, "asked": asked}
        return await answers(folder / "all", [made for made, _ in events], **given), await answers(
            folder / "mine", mine, **given
        )

    with_others, alone = asyncio.run(both())
    assert with_others == alone


@settings(max_examples=15)
@given(case=CASES, tenant=st.sampled_from(TENANTS), patterns=st.sampled_from(PATTERNS))
def test_nothing_of_others_can_be_forgotten(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[list[Written], str], tenant: str, patterns: tuple[str, ...]
) -> None:
    written, _ = case

    async def forget_all() -> None:
        async with running_stack(tmp_path_factory.mktemp("law")) as stack:
            await stack.append(*(event(number, one) for number, one in enumerate(written)))
            await stack.consume()
            ids = await everyone_elses(stack, written, tenant=tenant, patterns=patterns)
            end = await stack.log.end()
            key = await stack.key(tenant=tenant, sessions=patterns)
            for id in ids:
                response = await stack.call("DELETE", f"/v1/memory/forget/{id}?wait_seconds=0", key=key)
                assert (response.status_code, response.json()["error"]) == (404, "not_found")
            assert await stack.log.end() == end

    asyncio.run(forget_all())


async def everyone_elses(stack: Stack, written: Sequence[Written], *, tenant: str, patterns: Sequence[str]) -> list[str]:
    """The ids of memories and events that a key of that tenant and those patterns may not touch."""
    foreign = [i for i, one in enumerate(written) if one.tenant != tenant or not may_read(patterns, one.session)]
    reader = stack.store.reader("g1")
    return [f"event-{i}" for i in foreign] + [row.id for i in foreign for row in reader.by_event(f"event-{i}")]


async def test_a_key_may_not_name_a_session_outside_its_patterns(tmp_path: Path) -> None:
    async with running_stack(tmp_path) as stack:
        key = await stack.key(sessions=["run-1"])
        for session in ("run-10", "run-1/", "RUN-1", "shared", None):
            named = {"session": session} if session else {}
            for method, path, sent in (
                ("POST", "/v1/memory/recall", {"json": {"q": "a", **named}}),
                ("GET", "/v1/memory/recall", {"params": {"q": "a", **named}}),
                ("GET", "/v1/memory/list", {"params": named}),
                ("POST", "/v1/memory/remember", {"json": {"content": "a", **named}}),
            ):
                response = await stack.call(method, path, key=key, **sent)  # type: ignore[arg-type]
                assert (response.status_code, response.json()["error"]) == (403, "forbidden_session")


class TestRightsBySession:
    """One key, `shared:read` and `project_*:read,write`, and one that may only write: through every call."""

    @pytest.fixture
    async def stack(self, tmp_path: Path) -> AsyncIterator[Stack]:
        async with running_stack(tmp_path) as running:
            yield running

    @pytest.fixture
    async def keys_of(self, stack: Stack) -> tuple[str, str, str]:
        owner = await stack.key()
        for session in ("shared", "project_1", "other", "drop"):
            await stack.remember(f"the price of {session} is 49", key=owner, session=session)
        return (
            owner,
            await stack.key(sessions=["shared:read", "project_*:read,write"], rights=["read", "write"], name="mixed"),
            await stack.key(sessions=["drop:write", "shared:read"], rights=["read"], name="writer"),
        )

    async def test_recall_and_list_show_what_the_key_may_read(self, stack: Stack, keys_of: tuple[str, str, str]) -> None:
        _, mixed, writer = keys_of
        for key, seen in ((mixed, {"shared", "project_1"}), (writer, {"shared"})):
            recalled = await stack.recall("price", key=key, session="*")
            assert {memory["session"] for memory in recalled} == seen
            listed = (await stack.call("GET", "/v1/memory/list", key=key, params={"session": "*"})).json()
            assert {memory["session"] for memory in listed["memories"]} == seen and listed["total"] == len(seen)
        several = {"q": "price", "session": ["shared", "drop"]}
        refused_with(await stack.call("POST", "/v1/memory/recall", key=writer, json=several), 403, "forbidden_session")
        refused_with(await stack.call("GET", "/v1/memory/list?session=drop", key=writer), 403, "forbidden_session")
        latest = {"q": "price", "session": "drop", "after": "latest"}
        refused_with(await stack.call("POST", "/v1/memory/recall", key=writer, json=latest), 403, "forbidden_session")

    async def test_remember_needs_the_right_to_write_there(self, stack: Stack, keys_of: tuple[str, str, str]) -> None:
        _, mixed, writer = keys_of
        for key, session in ((mixed, "shared"), (mixed, "other"), (writer, "shared"), (writer, "other")):
            refused = await stack.call("POST", "/v1/memory/remember", key=key, json={"content": "x", "session": session})
            refused_with(refused, 403, "forbidden_session")
            assert f"write in session '{session}'" in refused.json()["message"]
        await stack.remember("x", key=mixed, session="project_2")

    async def test_who_may_only_write_is_not_shown_what_is_repeated(
        self, stack: Stack, keys_of: tuple[str, str, str]
    ) -> None:  # fmt: skip
        *_, writer = keys_of
        said = {"content": "The  price of drop is 49", "session": "drop", "wait_seconds": 20}
        async with stack.consuming():
            answer = await stack.call("POST", "/v1/memory/remember", key=writer, json=said)
        assert answer.status_code == 202 and set(answer.json()) == {"id", "token", "session"}

    async def test_an_event_is_taken_where_the_key_may_write(self, stack: Stack, keys_of: tuple[str, str, str]) -> None:
        _, mixed, writer = keys_of
        for key, takes in ((mixed, {"project_1"}), (writer, {"drop"})):
            sessions = ("shared", "project_1", "other", "drop")
            batch = [to_json(Event(body=MemoryRemembered(content="x"), scope=Scope.of("acme", one))) for one in sessions]
            headers = {"content-type": "application/cloudevents-batch+json"}
            answer = await stack.call("POST", "/v1/events", key=key, content=json.dumps(batch), headers=headers)
            found = dict(zip(sessions, answer.json()["results"], strict=True))
            assert {session for session, one in found.items() if one["status"] == "accepted"} == takes
            assert found["other"]["error"].startswith("forbidden_session: ")

    async def test_forgetting_needs_the_right_to_write_there(self, stack: Stack, keys_of: tuple[str, str, str]) -> None:
        owner, mixed, _ = keys_of
        memories = {memory["session"]: memory for memory in await stack.recall("price", key=owner, session="*")}
        for name in ("id", "event_id"):
            refused = await stack.call("DELETE", f"/v1/memory/forget/{memories['shared'][name]}", key=mixed)
            refused_with(refused, 404, "not_found")
        async with stack.consuming():
            gone = await stack.call("DELETE", f"/v1/memory/forget/{memories['project_1']['id']}?wait_seconds=20", key=mixed)
        assert gone.status_code == 200
