"""Random histories of a log, with every kind of event."""

from __future__ import annotations

import random
from dataclasses import replace

from crewmem_producers.events import Event
from support.pipeline import erase, failure, forget, kickoff, remember

EVENTS = 80
FACTS = (
    "Acme costs $49 a month.", "Acme costs $59 a month.", "Beta lacks API docs and support.", "We decided to use Postgres.",
    "Fetched https://a.example/x: 12 plans.", "I don't know.",
)  # fmt: skip


def history(dice: random.Random) -> list[Event]:
    """Kickoffs with echoes, notes with keys, failures, repeats, forgets before and after what they name, erased sessions."""
    made: list[Event] = []
    for number in range(EVENTS):
        session, said = dice.choice("abc"), [f"{dice.choice(FACTS)} {dice.choice(FACTS)}" for _ in range(dice.randrange(1, 4))]
        key, named = dice.choice([None, None, "k1", "k2"]), f"event-{dice.randrange(EVENTS):05d}"
        recalled = [dice.choice(FACTS)] if dice.random() < 0.3 else []
        choices = [
            kickoff(*said, number=number, session=session, recalled=recalled),
            remember(dice.choice(FACTS), number=number, session=session, key=key),
            remember(f"Note {number} about x{number}", number=number, session=session),
            failure("no answer", number=number),
            replace(forget((named, dice.choice(["content", "task/0"])), number=number), scope=erase(session=session).scope),
            erase(number=number, session=session),
            dice.choice(made or [remember("first", number=number)]),
        ]
        made += dice.choices(choices, weights=(35, 25, 15, 5, 10, 3, 7))
    return made
