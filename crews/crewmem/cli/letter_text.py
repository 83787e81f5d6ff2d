"""A dead letter in full, as far as it can be read."""

from __future__ import annotations

import json
from typing import Any

from crewmem_producers import codec
from crewmem_producers.errors import InvalidEvent, KeyErased, KeyMissing
from crewmem_producers.keyring import Keyring
from crewmem_producers.log import LoggedRecord

_ERASED = "its session was erased: the key that opens it is destroyed, and nobody can read it any more"
_BYTES_SHOWN = 512
_DETAIL_SHOWN = 100


def described(record: LoggedRecord, *, keyring: Keyring) -> dict[str, Any]:
    """`headers` as they came (undecodable bytes replaced), and the `body` as text: JSON indented, other bytes in hex.

    Of a sealed body that cannot be opened `body` says why.
    """
    headers = [(name, (value or b"").decode("utf-8", "replace")) for name, value in record.headers]
    return {"headers": headers, "body": _body(record, keyring)}


def _body(record: LoggedRecord, keyring: Keyring) -> str:
    if record.value is None:
        return "it has no body"
    try:
        opened = keyring.open(record)
    except KeyErased:
        return _ERASED
    except KeyMissing as error:
        return f"it is sealed, and cannot be shown without its key: {error}"
    except InvalidEvent as error:
        return f"it is sealed, and cannot be opened: {error}"
    try:
        data = codec.unpacked(opened)
    except InvalidEvent as error:
        return f"it cannot be unpacked ({error}); its bytes: {_hex(record.value)}"
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return data.decode("utf-8") if _is_text(data) else _hex(data)


def shortened(detail: str) -> str:
    """For a cell of a table."""
    return detail if len(detail) <= _DETAIL_SHOWN else detail[: _DETAIL_SHOWN - 1] + "…"


def _is_text(data: bytes) -> bool:
    try:
        return data.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False


def _hex(data: bytes) -> str:
    more = f" ... and {len(data) - _BYTES_SHOWN} bytes more" if len(data) > _BYTES_SHOWN else ""
    return data[:_BYTES_SHOWN].hex() + more
