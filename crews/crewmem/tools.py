"""Tools with which an agent itself recalls and remembers, when it decides to."""

from __future__ import annotations

import logging
from typing import Any

from crewai.tools import BaseTool
from crewmem_producers.events import utc_now
from crewmem_producers.names import ALL_SESSIONS
from pydantic import BaseModel, Field, PrivateAttr

from crewmem.errors import RequestRefused, SessionMissing
from crewmem.memstore import Memstore
from crewmem.recall_block import make_block
from crewmem.sessions import PlainSession, Sessions, resolve_call

logger = logging.getLogger("crewmem")


class RecallInput(BaseModel):
    """What the agent says."""

    query: str = Field(description="What to look for, in a few words or a question")


class RememberInput(BaseModel):
    """What the agent says."""

    content: str = Field(description="The fact to keep, in one or two full sentences")


class _MemoryTool(BaseTool):
    """`session`: a name or a list (recalls from all, remembers in the first); without it that of the kickoff or block in which
    the tool is called, with AGENT_ROLE the calling agent's, else CREWMEM_SESSION. There is no other default: without any the
    call raises SessionMissing, which CrewAI tells the agent, and which is logged. The other arguments are Memstore's."""

    name: str = ""
    description: str = ""
    _session: PlainSession | None = PrivateAttr(default=None)
    _memstore: Memstore = PrivateAttr()

    def __init__(self, session: PlainSession | None = None, **settings: Any) -> None:
        super().__init__()  # type: ignore[call-arg]  # the subclasses have name and description
        self._session = session
        self._memstore = Memstore(**settings)

    def _sessions(self) -> Sessions:
        try:
            return resolve_call(self._session, default=self._memstore.settings.session, required=True)
        except SessionMissing as error:
            logger.error("the tool %s is not used: %s", self.name, error)
            raise


class RecallTool(_MemoryTool):
    """Looks memories up, and gives the agent the same block of text that kickoffs get: at most CREWMEM_TOP_K memories of at
    least CREWMEM_THRESHOLD, within CREWMEM_MAX_TOKENS. An outage gives it "nothing found", and a warning in the log."""

    name: str = "recall_memory"
    description: str = "Looks up what earlier runs found out: facts, decisions, preferences, failures."
    args_schema: type[BaseModel] = RecallInput

    def _run(self, query: str) -> str:
        settings, sessions = self._memstore.settings, self._sessions()
        try:
            found = self._memstore.recall(query, sessions.read, top_k=settings.top_k, threshold=settings.threshold)
        except RequestRefused as error:
            return f"Refused: {error}"
        block = make_block(found, now=utc_now(), top_k=settings.top_k, max_tokens=settings.max_tokens)
        return "Nothing found." if block is None else block.text


class RememberTool(_MemoryTool):
    """Stores a memory; in an outage it is delivered later."""

    name: str = "remember"
    description: str = "Keeps a fact for later runs and for other crews."
    args_schema: type[BaseModel] = RememberInput

    def _run(self, content: str) -> str:
        sessions = self._sessions()
        try:
            self._memstore.remember(content, sessions.write or ALL_SESSIONS)
        except RequestRefused as error:
            return f"Refused: {error}"
        return "Remembered."
