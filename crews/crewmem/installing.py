"""`crewmem.install(...)`: every crew of this process remembers, and no crew is changed for it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crewmem_producers.settings import CrewSettings, load, unknown_names

from crewmem.kickoff import Options, names_of
from crewmem.sessions import Session, check

if TYPE_CHECKING:
    from crewmem.hooks import Configuration  # which loads CrewAI

logger = logging.getLogger("crewmem")


def install(
    session: Session | None = None,
    *,
    agents: Sequence[Any] | None = None,
    publish: bool = True,
    recall: bool = True,
    strict: bool = False,
    **settings: Any,
) -> None:
    """Every kickoff of this process starts with what was recalled, and is published when it ends.

    `session`: a name, a list (reads all, writes to the first), `crewmem.AGENT_ROLE`, or a function of the crew and its
    inputs; without it, it comes from `inputs["crewmem_session"]`, a `with crewmem.session(...)` block or CREWMEM_SESSION.
    `agents`: roles or agents that get recalled memory, all by default. `publish=False` and `recall=False` switch off one
    half. `strict`: what is refused (the key, the event, by a full outbox too) stops the crew with an error, which otherwise is
    only logged; an outage never does. Further arguments are settings: `base_url`, `api_key`, `top_k`, `max_tokens`,
    `threshold` and the rest of docs/settings.md.

    Opens nothing. Calling it again replaces what it was told before; `uninstall` takes it back. Raises SettingsError,
    InvalidName, MissingExtra, UnsupportedCrewAI.
    """
    configuration = configure(
        session, agents=agents, publish=publish, recall=recall, strict=strict, settings=settings
    )  # fmt: skip
    from crewmem.hooks import install_for_all

    install_for_all(configuration)


def uninstall() -> None:
    """Takes crewmem out of this process's crews, those of a MemoryCrew too, and closes what it has open.

    What waits in the outbox stays there, for the next that publishes to the same destination. A Memstore, CrewMemory or tool
    goes on working: it opens again what it needs. Does nothing where nothing is installed.
    """
    from crewmem.connection import close_all

    if (hooks := sys.modules.get("crewmem.hooks")) is not None:  # else nothing was installed; it would load CrewAI
        hooks.unregister()
    close_all()


def configure(
    session: Session | None,
    *,
    agents: Sequence[Any] | None,
    publish: bool,
    recall: bool,
    strict: bool,
    settings: dict[str, Any],
) -> Configuration:
    """Checked options and the connection they use. Raises what `install` raises."""
    from crewmem.connection import connect
    from crewmem.supported_crewai import require_crewai

    require_crewai()
    check(session)
    for sentence in unknown_names():
        logger.warning("%s", sentence)
    loaded = load(CrewSettings, **settings)
    roles = None if agents is None else frozenset(name for agent in agents for name in _roles(agent))
    options = Options(settings=loaded, session=session, agents=roles, publish=publish, recall=recall, strict=strict)
    return options, connect(loaded)


def _roles(agent: Any) -> set[str]:
    return {agent.strip()} if isinstance(agent, str) else names_of(agent)
