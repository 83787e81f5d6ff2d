"""Records as a file of a backup: one JSON line a record, under zstd."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

import zstandard
from crewmem_producers.log import LoggedRecord

from crewmem_store.errors import BackupBroken


def pack(records: Iterable[LoggedRecord]) -> bytes:
    """The bytes of a file that holds the records, in their order."""
    lines = (json.dumps(_line(record), separators=(",", ":")) for record in records)
    return zstandard.ZstdCompressor(level=3).compress("\n".join(lines).encode())


def unpack(data: bytes, *, partition: int, name: str) -> list[LoggedRecord]:
    """The records of a file of that partition, in their order. Raises BackupBroken, with the file's `name`."""
    try:
        lines = zstandard.ZstdDecompressor().decompress(data).splitlines()
        return [_record(json.loads(line), partition) for line in lines]
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise BackupBroken(f"{name} cannot be read: {error}") from error


def _line(record: LoggedRecord) -> dict[str, object]:
    return {
        "offset": record.offset, "key": _text(record.key), "value": _text(record.value), "time": record.timestamp_ms,
        "headers": [[name, _text(value)] for name, value in record.headers],
    }  # fmt: skip


def _record(line: dict[str, object], partition: int) -> LoggedRecord:
    headers: list[list[str]] = line["headers"]  # type: ignore[assignment]
    return LoggedRecord(
        partition, int(str(line["offset"])), _bytes(line["key"]), _bytes(line["value"]),
        tuple((name, _bytes(value) or b"") for name, value in headers), int(str(line["time"])),
    )  # fmt: skip


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _bytes(value: object) -> bytes | None:
    return None if value is None else base64.b64decode(str(value), validate=True)
