import subprocess
import sys
from pathlib import Path

import pytest
from crewmem_producers.connect import open_dead_letter_log, open_log, open_registry, sqlite_path
from crewmem_producers.errors import SettingsError
from crewmem_producers.log import Record
from crewmem_producers.log_kafka import KafkaLog
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.registry_kafka import KafkaRegistry
from crewmem_producers.registry_sqlite import SqliteRegistry
from crewmem_producers.settings import KafkaSettings


async def test_without_a_broker_log_dead_letters_and_registry_are_one_file_of_the_home(tmp_path: Path) -> None:
    settings = KafkaSettings(home=tmp_path / "home")
    log, letters, registry = open_log(settings), open_dead_letter_log(settings), open_registry(settings)
    assert (type(log), type(letters), type(registry)) == (SqliteLog, SqliteLog, SqliteRegistry)
    for part in (log, letters, registry):
        await part.start()
    await log.append([Record(b"k", b"event")])
    await registry.put("active", {"generation": "g1"})
    assert (await log.end(), await letters.end()) == ({0: 1}, {0: 0})
    for part in (log, letters, registry):
        await part.close()
    assert sqlite_path(settings) == tmp_path / "home" / "log.sqlite3"
    assert sqlite_path(settings).is_file()


async def test_two_namespaces_share_a_home_and_no_record(tmp_path: Path) -> None:
    mine, other = (KafkaSettings(home=tmp_path, namespace=name) for name in ("mine", "other"))
    logs, registries = [open_log(mine), open_log(other)], [open_registry(mine), open_registry(other)]
    for part in (*logs, *registries):
        await part.start()
    await logs[0].append([Record(b"k", b"event")])
    await registries[0].put("active", {"generation": "g1"})
    await registries[1].refresh()
    assert await logs[1].end() == {0: 0}
    assert registries[1].items("") == {}
    for part in (*logs, *registries):
        await part.close()


def test_with_a_bootstrap_address_they_are_on_kafka() -> None:
    settings = KafkaSettings(kafka_bootstrap="k1:9092")
    assert isinstance(open_log(settings), KafkaLog)
    assert isinstance(open_dead_letter_log(settings), KafkaLog)
    assert isinstance(open_registry(settings), KafkaRegistry)


async def test_settings_that_cannot_work_are_told_before_anything_is_tried() -> None:
    settings = KafkaSettings(kafka_bootstrap="k1:9092", kafka_security_protocol="SASL_SSL")
    for part in (open_log(settings), open_registry(settings)):
        with pytest.raises(SettingsError, match="CREWMEM_KAFKA_SASL_USERNAME"):
            await part.start()


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_machine_without_a_broker_loads_no_aiokafka() -> None:
    code = """
import sys
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.settings import KafkaSettings
open_log(KafkaSettings()), open_registry(KafkaSettings())
print("aiokafka" in sys.modules)
"""
    assert _python(code) == "False"


def test_kafka_without_its_extra_is_one_error_that_names_the_command() -> None:
    code = """
import sys
sys.modules["aiokafka"] = sys.modules["aiokafka.conn"] = None
from crewmem_producers.connect import open_log
from crewmem_producers.errors import MissingExtra
from crewmem_producers.settings import KafkaSettings
try:
    open_log(KafkaSettings(kafka_bootstrap="k1:9092"))
except MissingExtra as error:
    print(error)
"""
    assert 'pip install "crewmem[kafka]"' in _python(code)
