"""What the demo claims, each looked at where it is made."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence and whether it holds. `binding` is False for what a real model may word otherwise."""

    says: str
    holds: bool
    binding: bool = True


@dataclass(slots=True)
class Claims:
    """All claims so far, in the order of the story."""

    made: list[Claim] = field(default_factory=list)

    def check(self, says: str, holds: bool, *, binding: bool = True) -> Claim:
        claim = Claim(says, holds, binding)
        self.made.append(claim)
        return claim

    @property
    def broken(self) -> list[Claim]:
        return [claim for claim in self.made if claim.binding and not claim.holds]


def mentions(text: str, names: Collection[str]) -> list[str]:
    """Which of the names are in the text."""
    return [name for name in names if name.lower() in text.lower()]
