"""Labelled texts for redaction: where each secret is, and texts that hold none. Keys are drawn by a seed when the texts are
read, so that nothing that looks like a real key lies in the repository."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits

DATA = Path(__file__).parents[1] / "consumers" / "data"
SEED = 20261201
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
ALPHABETS = {
    "alnum": ascii_letters + digits, "lowalnum": ascii_lowercase + digits, "hex": "0123456789abcdef", "HEX": "0123456789ABCDEF",
    "upper": ascii_uppercase + "234567", "url": ascii_letters + digits + "-_", "b64": ascii_letters + digits + "+/",
    "digits": digits, "base32": ascii_uppercase + "234567", "base58": BASE58,
}  # fmt: skip
WORDS = ("river", "lamp", "stone", "Winter", "copper", "Garden", "violet", "engine", "Falcon", "bridge", "orbit", "Marble")
SLOT = re.compile(r"⟨(\w+)(?::(\d+))?⟩")
CHOICE = re.compile(r"\[\[(.*?)\]\]")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text of a kind. `secrets` are the strings in it that must not be left; none: nothing of it may change."""

    kind: str
    text: str
    secrets: tuple[str, ...]


def secret_texts() -> list[Labelled]:
    """Texts with at least one secret each, the same ones at every call."""
    dice = random.Random(SEED)
    found = []
    for kind, line in _lines("secrets.txt"):
        text = SLOT.sub(lambda slot: _drawn(dice, slot[1], int(slot[2] or 0)), line)
        found.append(Labelled(kind, text.replace("«", "").replace("»", ""), tuple(re.findall(r"«(.*?)»", text, re.DOTALL))))
    return found


def harmless_texts() -> list[Labelled]:
    """Texts without a secret: `[[a|b]]` in a line gives one text for each of them."""
    return [Labelled(kind, text, ()) for kind, line in _lines("harmless.txt") for text in _chosen(line)]


def _lines(file: str) -> Iterator[tuple[str, str]]:
    kind = ""
    for line in DATA.joinpath(file).read_text("utf-8").splitlines():
        if line.startswith("# "):
            kind = line[2:]
        elif line:
            yield kind, line.replace("\\\\n", "\0").replace("\\n", "\n").replace("\0", "\\n")


def _chosen(line: str) -> Iterator[str]:
    choices = [[part.replace("\0", "|") for part in found.replace("\\|", "\0").split("|")] for found in CHOICE.findall(line)]
    for picked in product(*choices):
        rest = iter(picked)
        yield CHOICE.sub(lambda _: next(rest), line)  # noqa: B023


def _drawn(dice: random.Random, name: str, length: int) -> str:
    made: dict[str, Callable[[], str]] = {
        "pw": lambda: _password(dice),
        "uuid": lambda: _uuid(dice),
        "words": lambda: _words(dice, length),
    }
    if name in made:
        return made[name]()
    while True:  # a key without a letter and a digit is hardly ever drawn, and no key of a provider
        key = "".join(dice.choice(ALPHABETS[name]) for _ in range(length))
        if name == "digits" or length < 12 or (any(map(str.isdigit, key)) and any(map(str.isalpha, key))):
            return key


def _password(dice: random.Random) -> str:
    """As people and generators make them."""
    word = dice.choice(WORDS)
    return dice.choice((
        f"{word}{dice.randrange(10, 9999)}", f"{word.capitalize()}{dice.randrange(10, 9999)}!",
        f"{word[:2]}{dice.randrange(10)}{word[2:]}{dice.choice('!@#%&*')}{dice.randrange(100)}",
        "".join(dice.choice(ascii_letters + digits + "!#%*+-_=?") for _ in range(dice.randrange(12, 20))) + "7x",
        f"{word}-{dice.choice(WORDS).lower()}-{dice.randrange(100, 999)}", f"{word}_{dice.randrange(1000, 9999)}#{word[:2]}",
    ))  # fmt: skip


def _uuid(dice: random.Random) -> str:
    return "-".join("".join(dice.choice("0123456789abcdef") for _ in range(length)) for length in (8, 4, 4, 4, 12))


def _words(dice: random.Random, count: int) -> str:
    return " ".join(dice.choice([word.lower() for word in WORDS]) for _ in range(count))


def left_over(one: Labelled, redacted: str) -> list[str]:
    """The secrets of which eight characters on end are still there."""
    return [
        secret for secret in one.secrets
        if any(secret[place : place + 8] in redacted for place in range(max(1, len(secret) - 7)))
    ]  # fmt: skip
