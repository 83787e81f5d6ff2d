"""Master keys from a file that may change while a process runs: so `crewmem keys rotate-master` needs no restart."""

from __future__ import annotations

import logging
from pathlib import Path

from crewmem_producers.errors import SettingsError
from crewmem_producers.master_key import MasterKeys

logger = logging.getLogger(__name__)

_Stamp = tuple[int, int, int]


class MasterFile:
    """Called, it gives the keys that the file holds now; what cannot be read changes nothing, and is one warning."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsError for a file that holds no master key."""
        self._path = path
        self._stamp = _stamp(path)
        try:
            self._keys = MasterKeys.parse(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"the master key in {path} cannot be used: {error}") from error

    def __call__(self) -> MasterKeys:
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            self._reread()
        return self._keys

    def _reread(self) -> None:
        try:
            self._keys = MasterKeys.parse(self._path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            logger.warning("%s has changed and cannot be used, the keys that it held go on: %s", self._path, error)
        else:
            logger.info("%s was read again: it holds the master keys %s", self._path, ", ".join(self._keys.fingerprints))


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
