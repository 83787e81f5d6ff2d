"""A broker of a test's own whose user has a password that an operator changes while it runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.kafka import Broker, kafka_home

SASL = {"SASL": "SASL_PLAINTEXT"}
MECHANISM, USER = "SCRAM-SHA-256", "alice"


@dataclass
class Rotating:
    """`file` is where clients read the password."""

    broker: Broker
    file: Path

    @property
    def settings(self) -> dict[str, Any]:
        """Those of a client, without the password, which the environment names."""
        return {
            "kafka_bootstrap": f"127.0.0.1:{self.broker.port_of('SASL')}", "kafka_security_protocol": "SASL_PLAINTEXT",
            "kafka_sasl_mechanism": MECHANISM, "kafka_sasl_username": USER, "kafka_partitions": 1,
        }  # fmt: skip

    def rotate(self, password: str) -> None:
        """Kafka takes this password from now on, and no other; connections that stand stay."""
        home = kafka_home()
        assert home is not None
        change = [
            "--alter",
            "--add-config",
            f"{MECHANISM}=[password={password}]",
            "--entity-type",
            "users",
            "--entity-name",
            USER,
        ]
        command = [home / "bin" / "kafka-configs.sh", "--bootstrap-server", self.broker.bootstrap, *change]
        subprocess.run(command, check=True, capture_output=True)

    def cut_connections(self) -> None:
        """Ends each of them, as a rolling restart does."""
        self.broker.stop()
        self.broker.start()


def rotating(new_broker: Callable[..., Broker], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Rotating:
    """Started; the password is `first`, there and in the file."""
    file = folder / "password"
    file.write_text("first\n")
    monkeypatch.setenv("CREWMEM_KAFKA_SASL_PASSWORD_FILE", str(file))
    properties = {
        "listener.name.sasl.sasl.enabled.mechanisms": MECHANISM,
        "listener.name.sasl.scram-sha-256.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }
    user = ("--add-scram", f"{MECHANISM}=[name={USER},password=first]")
    broker = new_broker(listeners=SASL, properties=properties, format_options=user)
    broker.start()
    return Rotating(broker, file)
