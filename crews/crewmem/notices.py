"""What is said once a process, since it holds for every kickoff alike."""

from __future__ import annotations

import logging
import threading

logger = logging.getLogger("crewmem")


class _Notices:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.said: set[str] = set()


_notices = _Notices()


def notice_once(text: str) -> None:
    """Log the text as a warning, the first time in this process."""
    with _notices.lock:
        known = text in _notices.said
        _notices.said.add(text)
    if not known:
        logger.warning("%s", text)
