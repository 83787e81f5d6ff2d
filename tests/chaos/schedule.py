"""The schedule: what is done to which process after how many events. A pure function of the options: rerun it with its seed."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

PUBLISHERS, CONSUMERS, SERVICES, BROKERS = 8, 3, 2, 3
KILLS = {"publisher": 46, "consumer": 24, "service": 18, "broker": 12}
"""Kind of process -> its share of the kills, in per cent."""
NAMES = {
    "publisher": [f"publisher-{n}" for n in range(PUBLISHERS)],
    "consumer": [f"consumer-{n}" for n in range(CONSUMERS)],
    "service": [f"service-{n}" for n in range(SERVICES)],
    "broker": [f"broker-{n}" for n in range(BROKERS)],
    "s3": ["s3"],
}
ACTIONS = {
    "erase": "sessions erased while they are published to",
    "forget": "memories forgotten",
    "forget-session": "sessions forgotten",
    "malformed": "times four malformed records",
    "newer": "events of a newer version",
    "pause": "pauses (SIGSTOP)",
    "redrive": "redrives of every dead letter",
    "replay": "replays",
    "rules": "changes of the rules",
    "stop": "brokers stopped and started",
    "upgrade": "upgrades of the consumers",
}
"""What is done but kills, as the table says it."""
NEWER = (4, 10, 16, 22, 28, 70)
"""After how many per cent of the events one is published that only a newer consumer reads."""
UPGRADE = 34
"""After how many per cent the consumers are killed one by one and started again as newer ones."""
PAUSES = {"consumer": (14.0, 20.0), "static member": (34.0, 40.0), "publisher": (1.0, 4.0), "service": (1.0, 4.0)}
"""Seconds that a process is stopped: a consumer for longer than its session, so that its partitions move while it sleeps."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """One run. `events` counts those too that are published twice, one in twenty; `rate` is how many a second, at most.

    `store` is `folder` or `s3`; `without` names guards that are taken out, `widen` is for how many seconds a write then stands
    still at its borders.
    """

    seed: int
    events: int = 53_000
    kills: int = 200
    store: str = "folder"
    without: tuple[str, ...] = ()
    widen: float = 0.0
    partitions: int = 12
    rate: float = 100.0

    @property
    def patience(self) -> float:
        """Seconds that what must come of the log is waited for; in a control it may never come."""
        return 60.0 if self.without else 600.0


@dataclass(frozen=True, order=True)
class Step:
    """After `at` events: `action` on `target`; `chance` in [0, 1) chooses what the action leaves open."""

    at: int
    action: str
    target: str = ""
    chance: float = field(default=0.0)

    def __str__(self) -> str:
        return f"{self.at:7d} {self.action} {self.target} {self.chance:.6f}"


def schedule(options: Options) -> list[Step]:
    """The steps in order; the replay is in the middle."""
    dice = random.Random(f"schedule/{options.seed}")
    low, high = options.events // 50, options.events * 49 // 50

    def step(action: str, target: str = "") -> Step:
        return Step(dice.randint(low, high), action, target, dice.random())

    steps = [step("kill", name) for name in _killed(options, dice)]
    steps += [step("pause", name) for name in _some("consumer", max(3, options.kills // 20), dice)]
    steps += [step("pause", name) for kind in ("publisher", "service") for name in _some(kind, options.kills // 40, dice)]
    steps += [step("stop", name) for name in _some("broker", max(1, options.kills // 40), dice)]
    steps += [step("forget") for _ in range(max(4, options.events // 1000))]
    steps += [step("forget-session") for _ in range(max(2, options.events // 6000))]
    steps += [step("rules") for _ in range(max(2, options.events // 12_000))]
    steps += [step("malformed") for _ in range(max(3, options.events // 1500))]
    steps += [step("redrive") for _ in range(max(1, options.events // 15_000))]
    steps += [Step(dice.randint(options.events // 4, options.events * 3 // 4), "erase", "", dice.random())
              for _ in range(max(1, options.events // 12_000))]  # fmt: skip
    steps += [Step(options.events * share // 100, "newer", "", dice.random()) for share in NEWER]
    steps.append(Step(options.events * UPGRADE // 100, "upgrade", "", dice.random()))
    steps.append(Step(options.events // 2, "replay", "", dice.random()))
    return sorted(steps)


def counted(steps: list[Step]) -> Counter[str]:
    """How many steps of each sort there are: `kill broker`, `forget`."""
    return Counter(" ".join((step.action, step.target.rpartition("-")[0] or step.target)).strip() for step in steps)


def _killed(options: Options, dice: random.Random) -> Iterator[str]:
    for kind, share in KILLS.items():
        yield from _some(kind, max(1, math.ceil(options.kills * share / 100)), dice)
    if options.store == "s3":
        yield from _some("s3", max(1, options.kills // 20), dice)


def _some(kind: str, count: int, dice: random.Random) -> list[str]:
    return [dice.choice(NAMES[kind]) for _ in range(count)]
