"""The docker compose stack for real: crews outside, a consumer and a broker that are stopped in the middle."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stack import Stack
from support.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]


def running(*files: str, settings: dict[str, str] | None = None) -> Iterator[Stack]:
    stack = Stack(*files, settings=settings)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture
def stack() -> Iterator[Stack]:
    yield from running()


@pytest.fixture
def stack_on_s3() -> Iterator[Stack]:
    yield from running("docker-compose.yml", "docker-compose.s3.yml", settings={"CREWMEM_S3_SECRET_KEY": "secret-of-the-test"})


def test_crews_outside_share_memory_while_consumer_and_broker_are_restarted(stack: Stack, tmp_path: Path) -> None:
    first = json.loads(stack.crew("launch", "research", home=tmp_path / "http", kafka=False))
    assert first["memories"] == 0 and first["published"]
    second = json.loads(stack.crew("launch", "plan", home=tmp_path / "kafka", kafka=True))
    assert second["memories"] > 0 and second["published"]

    stack.compose("up", "--detach", "--wait", "--scale", "consumer=3")
    expected = [f"Fact number {number} of the press run" for number in range(60)]
    stopped = threading.Event()

    def restarts() -> None:
        stack.compose("kill", "--signal", "SIGKILL", "consumer")
        stack.compose("up", "--detach", "--scale", "consumer=3")
        stack.compose("kill", "--signal", "SIGKILL", "kafka")
        stack.compose("up", "--detach", "--wait", "--scale", "consumer=3")
        stopped.set()

    thread = threading.Thread(target=restarts)
    thread.start()
    script = tmp_path / "remember.py"
    script.write_text(REMEMBER)
    stack.script(script, json.dumps(expected), home=tmp_path / "http")
    thread.join(timeout=600)
    assert stopped.is_set()

    stack.script(script, json.dumps(["The last fact of the press run"]), home=tmp_path / "http")
    wanted = sorted([*expected, "The last fact of the press run"])
    until(lambda: len(stack.contents("press")) >= len(wanted), 300)  # three consumers share out the partitions meanwhile
    assert sorted(stack.contents("press")) == wanted
    assert sum("49 dollars" in content for content in stack.contents("launch")) >= 1

    third = json.loads(stack.crew("launch", "research", home=tmp_path / "kafka", kafka=True))
    assert third["memories"] > 0


def test_each_container_holds_only_the_keys_that_it_needs_and_can_write_nowhere_else(stack: Stack, tmp_path: Path) -> None:
    inside = {
        service: json.loads(stack.compose("exec", "-T", service, "python", "-c", LOOK)) for service in ("recall", "consumer")
    }
    assert inside["recall"]["readable"] == ["/keys/service/admin_key", "/keys/service/master_public_key"]
    assert inside["consumer"]["readable"] == ["/keys/master/master_key"]
    for seen in inside.values():
        assert seen["secrets_in_environment"] == [] and not seen["writable"] and not seen["root"] and seen["capabilities"] == 0

    assert "ok    sealing" in stack.compose("exec", "-T", "recall", "crewmem", "doctor")
    assert "0 data keys, all open here" in stack.compose("run", "--rm", "-T", "operator", "doctor")


def test_an_operator_of_any_user_id_backs_up_into_a_folder_of_the_host(tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    settings = {"CREWMEM_OPERATOR_USER": "12345:0", "CREWMEM_BACKUP": str(folder)}
    for stack in running(settings=settings):
        stack.compose("run", "--rm", "-T", "operator", "backup", "create", "/backup")
        assert "sound" in stack.compose("run", "--rm", "-T", "operator", "backup", "verify", "/backup")
        master = stack.compose("run", "--rm", "-T", "--entrypoint", "cat", "operator", "/keys/master/master_key").strip()
        stack.down()  # an empty log without topics, which a restore needs
        stack.compose("up", "--detach", "--wait", "kafka")
        stack.compose("run", "--rm", "-T", "--env", f"GIVEN_MASTER_KEY={master}", "keys")
        assert "records" in stack.compose("run", "--rm", "-T", "operator", "backup", "restore", "/backup")


def test_the_store_on_object_storage_serves_the_same_crews(stack_on_s3: Stack, tmp_path: Path) -> None:
    stack_on_s3.crew("launch", "research", home=tmp_path / "http", kafka=False)
    assert json.loads(stack_on_s3.crew("launch", "plan", home=tmp_path / "other", kafka=False))["memories"] > 0
    before = sorted(stack_on_s3.contents("launch"))
    stack_on_s3.compose("kill", "--signal", "SIGKILL", "consumer", "recall")
    stack_on_s3.compose("up", "--detach", "--wait")
    assert sorted(stack_on_s3.contents("launch")) == before != []


REMEMBER = """
import json, sys
from crewmem import Memstore
ms = Memstore()
for content in json.loads(sys.argv[1]):
    ms.remember(content, session="press")
ms.close()
"""

LOOK = """
import json, os, pathlib, re
def readable(path):
    try:
        return bool(path.read_text().strip())
    except OSError:
        return False
def writable(folder):
    try:
        (pathlib.Path(folder) / "probe").write_text("x")
        return True
    except OSError:
        return False
status = pathlib.Path("/proc/self/status").read_text()
keys = sorted(path for path in pathlib.Path("/keys").glob("*/*") if readable(path))
print(json.dumps({
    "readable": [str(path) for path in keys],
    "secrets_in_environment": [n for n, v in os.environ.items() if re.search("am_live_|crewmem-master", v)],
    "writable": any(map(writable, ("/", "/opt/crewmem-code", "/etc", *{p.parent for p in keys}))),
    "root": os.getuid() == 0,
    "capabilities": int(re.search(r"CapBnd:\\s+([0-9a-f]+)", status)[1], 16),
}))
"""
