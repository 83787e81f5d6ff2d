"""The suite of the `Transport` contract. An implementation's tests subclass it and give the two fixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from crewmem_producers.events import Event
from crewmem_producers.freshness import parse_token
from crewmem_producers.transport import Delivered, RelayReport, Transport
from support.events import kickoff, remembered


class Destination(Protocol):
    """What is behind the transport under test."""

    async def events(self) -> Sequence[Event]:
        """Everything that arrived, in the order of the log within a session."""

    async def reports(self) -> Sequence[str]:
        """A line for each report of a relay that arrived; it names depth and version."""


class TransportConformance:
    """Subclasses give the fixtures `transport` (not connected) and `destination`."""

    async def test_every_event_has_its_fate_in_order(self, transport: Transport, destination: Destination) -> None:
        sent = [remembered(f"fact {number}") for number in range(5)]
        fates = await transport.send(sent)
        assert len(fates) == 5 and all(isinstance(fate, Delivered) for fate in fates)
        assert [event.id for event in await destination.events()] == [event.id for event in sent]

    async def test_an_event_arrives_as_it_was_published(self, transport: Transport, destination: Destination) -> None:
        sent = kickoff("Acme costs 49 €", "a plan", crew="Research", execution_id="e-1")
        await transport.send([sent])
        (arrived,) = await destination.events()
        assert (arrived.id, arrived.type, arrived.time, arrived.source) == (sent.id, sent.type, sent.time, sent.source)
        assert arrived.scope == sent.scope
        assert arrived.body.model_dump(exclude={"tenant", "session"}) == sent.body.model_dump(exclude={"tenant", "session"})

    async def test_tokens_name_growing_offsets_of_one_partition_for_one_session(self, transport: Transport) -> None:
        fates = await transport.send([remembered("a"), remembered("b")])
        first, second = (parse_token(fate.token)[0] for fate in fates if isinstance(fate, Delivered))
        assert first.partition == second.partition
        assert first.offset is not None and second.offset is not None and first.offset < second.offset

    async def test_sessions_keep_their_own_order(self, transport: Transport, destination: Destination) -> None:
        sent = [remembered(str(number), session=f"s{number % 3}") for number in range(30)]
        await transport.send(sent[:17])
        await transport.send(sent[17:])
        arrived = await destination.events()
        for session in ("s0", "s1", "s2"):
            of = [event.id for event in sent if event.scope is not None and event.scope.session == session]
            assert [e.id for e in arrived if e.scope is not None and e.scope.session == session] == of

    async def test_a_full_batch_of_five_hundred_is_taken(self, transport: Transport, destination: Destination) -> None:
        fates = await transport.send([remembered(str(number)) for number in range(500)])
        assert all(isinstance(fate, Delivered) for fate in fates)
        assert len(await destination.events()) == 500

    async def test_large_events_are_taken(self, transport: Transport, destination: Destination) -> None:
        sent = [kickoff("x" * 5_000_000) for _ in range(5)]
        fates = await transport.send(sent)
        assert all(isinstance(fate, Delivered) for fate in fates)
        assert [event.id for event in await destination.events()] == [event.id for event in sent]

    async def test_a_repeat_is_delivered_again_without_an_error(self, transport: Transport) -> None:
        event = remembered("once")
        await transport.send([event])
        (fate,) = await transport.send([event])
        assert isinstance(fate, Delivered)

    async def test_after_a_close_the_next_send_connects_again(self, transport: Transport, destination: Destination) -> None:
        await transport.send([remembered("before")])
        await transport.close()
        await transport.close()
        await transport.send([remembered("after")])
        assert len(await destination.events()) == 2

    async def test_a_report_says_how_the_outbox_stands(self, transport: Transport, destination: Destination) -> None:
        await transport.report(RelayReport(depth=7, oldest_seconds=1.5, version="9.9"))
        await transport.send([remembered("x")])
        (report,) = await destination.reports()
        assert "7" in report and "9.9" in report
