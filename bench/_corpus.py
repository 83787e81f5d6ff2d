"""What the ingest benchmarks publish: kickoffs with outputs of mixed length and short notes, made up but never the same."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from crewmem_producers.events import Body, Event, KickoffCompleted, MemoryRemembered, TaskOutput
from crewmem_producers.names import Scope

WORDS = (
    "price", "plan", "market", "launch", "customer", "team", "risk", "budget", "seat", "vendor", "contract", "review",
    "quarter", "growth", "pilot", "feature", "roadmap", "support", "churn", "security", "audit", "region", "partner",
    "channel", "discount", "renewal", "survey", "interview", "shows", "raises", "offers", "covers", "needs", "lacks", "wins",
    "loses", "keeps", "drops", "adds", "tests", "ships",
)  # fmt: skip
ROLES = ("Senior Researcher", "Content Writer", "Analyst")
START = datetime(2026, 1, 1, tzinfo=UTC)


def sentence(dice: random.Random) -> str:
    words = [dice.choice(WORDS) if dice.random() < 0.8 else f"{dice.choice(WORDS)}{dice.randrange(10_000)}" for _ in range(14)]
    return " ".join(words).capitalize() + "."


def text(dice: random.Random, sentences: int) -> str:
    return " ".join(sentence(dice) for _ in range(sentences))


def events(count: int, *, seed: int, start: datetime = START) -> list[Event]:
    """Two kickoffs of three tasks (14 to 280 words each) for each note, over 20 sessions."""
    dice = random.Random(seed)
    return [
        Event(
            body=_note(dice) if number % 3 == 2 else _kickoff(dice),
            scope=Scope.of("default", f"session-{dice.randrange(20)}"),
            id=f"bench-{seed}-{number:07d}",
            time=start + timedelta(seconds=number),
            source="bench",
        )
        for number in range(count)
    ]


def _note(dice: random.Random) -> Body:
    return MemoryRemembered(content=text(dice, 2))


def _kickoff(dice: random.Random) -> Body:
    outputs = [text(dice, dice.choice((1, 3, 6, 10, 20))) for _ in ROLES]
    tasks = [
        TaskOutput(index=index, key=f"task-{index}", agent_role=role, raw=raw)
        for index, (role, raw) in enumerate(zip(ROLES, outputs, strict=True))
    ]
    return KickoffCompleted(crew="bench", crew_key="bench", raw=outputs[-1], tasks=tasks)
