"""Tools with which an agent itself recalls and remembers, when it decides to."""

from __future__ import annotations

from typing import Any

from crewai.tools import BaseTool
from pydantic import BaseModel, Field, PrivateAttr

from crewmem.errors import RequestRefused
from crewmem.memstore import Memstore
from crewmem.sessions import PlainSession


class RecallInput(BaseModel):
    """What the agent says."""

    query: str = Field(description="What to look for, in a few words or a question")


class RememberInput(BaseModel):
    """What the agent says."""

    content: str = Field(description="The fact to keep, in one or two full sentences")


class _MemoryTool(BaseTool):
    """`session`: as for Memstore. The other arguments are Memstore's."""

    name: str = ""
    description: str = ""
    _session: PlainSession | None = PrivateAttr(default=None)
    _memstore: Memstore = PrivateAttr()

    def __init__(self, session: PlainSession | None = None, **settings: Any) -> None:
        super().__init__()  # type: ignore[call-arg]  # the subclasses have name and description
        self._session = session
        self._memstore = Memstore(**settings)


class RecallTool(_MemoryTool):
    """Looks memories up. An outage gives the agent "nothing found", and a warning in the log."""

    name: str = "recall_memory"
    description: str = "Looks up what earlier runs found out: facts, decisions, preferences, failures."
    args_schema: type[BaseModel] = RecallInput

    def _run(self, query: str) -> str:
        try:
            found = self._memstore.recall(query, self._session)
        except RequestRefused as error:
            return f"Refused: {error}"
        lines = [f"- ({str(memory.get('created_at'))[:10]}) {memory['content']}" for memory in found]
        return "\n".join(lines) or "Nothing found."


class RememberTool(_MemoryTool):
    """Stores a memory; in an outage it is delivered later."""

    name: str = "remember"
    description: str = "Keeps a fact for later runs and for other crews."
    args_schema: type[BaseModel] = RememberInput

    def _run(self, content: str) -> str:
        try:
            self._memstore.remember(content, self._session)
        except RequestRefused as error:
            return f"Refused: {error}"
        return "Remembered."
