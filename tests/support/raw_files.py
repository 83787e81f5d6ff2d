"""Looking for words in raw files: as they are, in JSON's escapes, and inside what is packed with zstd."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard

_ZSTD = re.compile(re.escape(b"\x28\xb5\x2f\xfd"))
MOST_BYTES = 32 * 1024 * 1024


def holding(folder: Path, words: Iterable[str | bytes]) -> dict[str, set[str]]:
    """File (relative) -> the words that it holds; files that hold none are left out."""
    wanted = {str(word): _spellings(word) for word in words}
    found: dict[str, set[str]] = {}
    for path, texts in contents(folder):
        held = {name for name, spellings in wanted.items() if any(s in text for text in texts for s in spellings)}
        if held:
            found[str(path.relative_to(folder))] = held
    return found


def contents(folder: Path, *, without: tuple[str, ...] = ()) -> Iterator[tuple[Path, list[bytes]]]:
    """Every file with its bytes as they are, and then unpacked; files whose names end in one of `without` are left out."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in without):
        try:
            raw = _raw(path)
        except FileNotFoundError:  # a process beside us tidied up
            continue
        yield path, [raw, *_unpacked(raw)]


def _raw(path: Path) -> bytes:
    """A SQLite file is read by another process: who closes it here drops the locks of every connection of this process."""
    if ".sqlite3" not in path.name:
        return path.read_bytes()
    read = subprocess.run(["cat", str(path)], stdout=subprocess.PIPE, check=False)
    if read.returncode:
        raise FileNotFoundError(path)
    return read.stdout


def _spellings(word: str | bytes) -> set[bytes]:
    if isinstance(word, bytes):
        return {word}
    return {word.encode(), json.dumps(word)[1:-1].encode(), word.encode("utf-16-le")}


def _unpacked(raw: bytes) -> Iterable[bytes]:
    """Every zstd frame that begins somewhere in it, as far as it can be read."""
    for match in _ZSTD.finditer(raw):
        reader = zstandard.ZstdDecompressor().decompressobj()
        try:
            yield reader.decompress(raw[match.start() : match.start() + MOST_BYTES])
        except zstandard.ZstdError:
            continue
