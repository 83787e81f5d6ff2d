"""The port that the service listens on."""

from __future__ import annotations

import socket

import pytest
from crewmem_producers.errors import SettingsError
from crewmem_store.service.server import listen, served
from fastapi import FastAPI


def test_an_answer_is_sent_at_once_and_not_held_back_for_the_callers_acknowledgement() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_cannot_be_had_is_a_wrong_setting() -> None:
    with (
        listen("127.0.0.1", 0) as taken,
        pytest.raises(SettingsError, match="Set CREWMEM_HOST and CREWMEM_PORT"),
    ):
        listen("127.0.0.1", taken.getsockname()[1])


async def test_the_settings_that_are_wrong_are_those_that_gave_the_address() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(SettingsError, match="Set CREWMEM_OTHER_HOST and CREWMEM_OTHER_PORT"):
        port, names = taken.getsockname()[1], ("CREWMEM_OTHER_HOST", "CREWMEM_OTHER_PORT")
        async with served(FastAPI(), host="127.0.0.1", port=port, settings=names):
            raise AssertionError("it is taken")
