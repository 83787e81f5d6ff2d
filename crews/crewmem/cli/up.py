"""`crewmem up`: log, consumer and recall service in one process, on this machine."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer
from crewmem_producers.errors import SettingsError
from crewmem_producers.settings import MASTER_KEY_NAME, ConsumerSettings, CrewSettings, ServiceSettings, load

from crewmem.cli.console import note, say, working
from crewmem.cli.garbage import look_for_cycles_rarely
from crewmem.cli.home import hold_home
from crewmem.cli.listening import in_container
from crewmem.cli.options import Home
from crewmem.cli.services import log_to_stderr, stop_at_signal
from crewmem.cli.stack import Started, run


def up(
    home: Home = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (CREWMEM_HOST).", show_default=False)] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on (CREWMEM_PORT); 0: a free one.", show_default=False, min=0, max=65535)
    ] = None,
) -> None:
    """Run log (SQLite), consumer and recall service on this machine, until ctrl-C.

    Prints the address, the data folder, the key's file, the key itself the first time, then `ready`.
    """
    service = load(ServiceSettings, home=home, host=host, port=port)
    consumer = load(ConsumerSettings, home=home)
    if service.kafka_bootstrap:
        raise SettingsError(
            "CREWMEM_KAFKA_BOOTSTRAP is set, and `crewmem up` works without a broker: unset it, or run "
            "`crewmem consume` and `crewmem serve`"
        )
    log_to_stderr(logging.WARNING)
    look_for_cycles_rarely()
    with hold_home(service.home):
        asyncio.run(_until_signal(service, consumer))
    note("stopped")


async def _until_signal(service: ServiceSettings, consumer: ConsumerSettings) -> None:
    await run(service=service, consumer=consumer, stop=stop_at_signal(), ready=_print_ready, working=working)


def _print_ready(started: Started) -> None:
    say(f"url       {started.url}")
    say(f"data      {started.home}")
    say(f"key file  {started.key_file or 'none: CREWMEM_ADMIN_KEY is the key'}")
    if started.new_key:
        say(f"key       {started.new_key}   (shown this once)")
    if started.new_master_key:
        say(f"master key  {started.home / MASTER_KEY_NAME}")
        note(
            "keep a copy of the master key elsewhere: without it nobody can read this log again, and no replay can",
            style="yellow",
        )
    if in_container() and started.url != started.local_url:
        note(
            f"for crews in other containers of its network: CREWMEM_BASE_URL={started.url}, or the name of this container or "
            "Compose service as host; for crews outside: http://127.0.0.1:PORT, where PORT is what you published "
            f"(docker run --publish PORT:{started.port}). Each needs the key, as CREWMEM_API_KEY"
        )
    elif not _is_found_by_itself(started):
        note(f"in a crew's process: CREWMEM_BASE_URL={started.url} CREWMEM_API_KEY_FILE={started.key_file}")
    say("ready")


def _is_found_by_itself(started: Started) -> bool:
    """Whether a crew with this environment's settings reaches this service with its key."""
    crew = load(CrewSettings)
    key = started.key_file.read_text("utf-8").strip() if started.key_file else None
    return crew.service_url() == started.local_url and crew.resolved_api_key() == key
