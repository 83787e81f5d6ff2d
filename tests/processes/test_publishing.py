"""What was published survives the process that published it; forks, loops and many processes on one outbox."""

import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from crewmem_producers.destination import outbox_path
from crewmem_producers.outbox import Outbox, OutboxStatus
from crewmem_producers.settings import CrewSettings, load
from support import programs
from support.events_server import KEY, EventsServer

PUBLISHER = """
import os, sys, time, signal
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings, load
from support.events import remembered
publisher = Publisher(load(CrewSettings))

def say(content, session="s"):
    return publisher.publish(remembered(content, session=session))
"""


class Site:
    """One host with an outbox, and a service that can be there or not."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server = EventsServer().start()
        self.environment = {"home": str(home), "base_url": self.server.base_url, "api_key": KEY}

    def start(self, code: str, **settings: str) -> subprocess.Popen[str]:
        return programs.start(PUBLISHER + code, **self.environment, **settings)

    def run(self, code: str, **settings: str) -> subprocess.CompletedProcess[str]:
        ended = programs.run(PUBLISHER + code, **self.environment, **settings)
        print(ended.stderr)
        return ended

    def drain(self) -> None:
        """Another process sends what is left."""
        ended = self.run("print(publisher.flush(50))")
        assert ended.stdout.strip() == "True"

    @property
    def path(self) -> Path:
        return outbox_path(load(CrewSettings, home=self.home, base_url=self.server.base_url, api_key=KEY))

    def status(self) -> OutboxStatus:
        outbox = Outbox(self.path, max_bytes=10**9)
        try:
            return outbox.status()
        finally:
            outbox.close()

    def relays(self, process: subprocess.Popen[str]) -> bool:
        """Whether that process holds the relay's lock."""
        lock = self.path.with_suffix(".relay")
        return any(fd.readlink() == lock for fd in Path(f"/proc/{process.pid}/fd").iterdir())

    def assert_file_is_sound(self) -> None:
        with sqlite3.connect(self.path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not list(self.path.parent.glob("*.damaged-*"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "home")
    yield site
    site.server.stop()


def first_times(contents: list[str]) -> list[str]:
    return list(dict.fromkeys(contents))


KILLED = """
for number in range(20):
    say(f"fact {number}")
    print(number, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def run_killed(site: Site, code: str) -> list[str]:
    """What arrives when the service was away until the publishing process was killed."""
    site.server.stop()
    killed = site.run(code)
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.split() == [str(number) for number in range(20)]
    site.server.start()
    site.drain()
    return site.server.contents()


def test_what_was_published_before_a_kill_is_delivered_later_by_another_process(site: Site) -> None:
    assert run_killed(site, KILLED) == [f"fact {number}" for number in range(20)]


def test_the_test_of_a_kill_finds_an_outbox_that_writes_a_little_later(site: Site) -> None:
    late = """
import threading
from crewmem_producers.outbox import Outbox
append = Outbox.append
Outbox.append = lambda self, events: [threading.Timer(0.2, append, (self, events)).start() or 0]
"""
    assert run_killed(site, late + KILLED) != [f"fact {number}" for number in range(20)]


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise SystemError('the program ends badly')"])
def test_a_process_that_ends_right_after_publishing_has_delivered(site: Site, ending: str) -> None:
    site.run(f"say('last words')\n{ending}")
    assert site.server.contents() == ["last words"]
    assert site.status().depth == 0


def test_the_flush_at_exit_can_still_connect_to_a_host_by_its_name(site: Site) -> None:
    site.server.stop()
    url = site.server.base_url.replace("127.0.0.1", "localhost")
    site.environment["base_url"] = url
    process = site.start(
        """
say("sent while the interpreter ends")
import atexit
atexit.register(lambda: print("ending", flush=True))
""",
        flush_seconds="50",
    )
    assert process.stdout is not None and process.stdout.readline() == "ending\n"
    site.server.start()
    _, err = process.communicate(timeout=programs.PATIENCE_SECONDS)
    assert site.server.contents() == ["sent while the interpreter ends"], err
    assert process.returncode == 0


def test_what_remains_at_exit_is_one_warning_with_count_and_path(site: Site) -> None:
    site.server.stop()
    ended = site.run("say('a')\nsay('b')\npublisher.flush(0.1)", flush_seconds="0.3")
    assert ended.returncode == 0
    (line,) = [line for line in ended.stderr.splitlines() if "crewmem outbox flush" in line]
    assert "not sent yet: 2 in the outbox" in line and str(site.path) in line


def test_a_process_that_published_nothing_ends_without_a_wait_or_a_word(site: Site) -> None:
    ended = site.run("")
    assert (ended.returncode, ended.stderr) == (0, "") and not site.home.exists()


SENDING = """
for number in range(5):
    say(f"fact {number}")
time.sleep(600)
"""


def test_a_relay_that_dies_between_send_and_delete_repeats_harmlessly(site: Site) -> None:
    site.server.drop_answers = 10**6
    process = site.start(SENDING)
    programs.until(lambda: "fact 4" in site.server.contents(), "the service has everything")
    process.kill()
    process.communicate()
    assert site.status().depth == 5
    site.server.drop_answers = 0
    site.drain()
    assert first_times(site.server.contents()) == [f"fact {number}" for number in range(5)]
    ids = {event["id"] for event in site.server.accepted}
    assert len(ids) == 5 and len(site.server.accepted) >= 10


def run_killed_while_sending(site: Site, code: str) -> set[str]:
    """What arrives when the relay is killed while the service has the first batch in its hands and loses it."""
    site.server.slow_seconds = 600
    process = site.start(code)
    programs.until(lambda: site.server.received > 0, "the service has begun to read")
    process.kill()
    process.communicate()
    site.server.slow_seconds = 0
    site.drain()
    return set(site.server.contents())


def test_a_relay_that_dies_while_the_service_is_busy_loses_nothing(site: Site) -> None:
    assert run_killed_while_sending(site, SENDING) == {f"fact {number}" for number in range(5)}


def test_the_test_of_a_dying_relay_finds_one_that_deletes_before_it_sends(site: Site) -> None:
    hasty = """
from crewmem_producers.outbox import Outbox
from crewmem_producers.transport import Delivered
batch = Outbox.batch
def taken(self, **bounds):
    rows = batch(self, **bounds)
    self.settle([(row, Delivered("1.0.0")) for row in rows])
    return rows
Outbox.batch = taken
"""
    assert run_killed_while_sending(site, hasty + SENDING) != {f"fact {number}" for number in range(5)}


def test_another_process_takes_over_when_the_relaying_one_is_killed(site: Site) -> None:
    waits = "print('ready', flush=True)\nfor line in sys.stdin: say(line.strip())\n"
    first, second = site.start("say('first')\n" + waits), site.start("say('second')\n" + waits)
    try:
        for process in (first, second):
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        programs.until(lambda: set(site.server.contents()) == {"first", "second"}, "one relay sends for both")
        relaying, other = (first, second) if site.relays(first) else (second, first)
        relaying.kill()
        assert other.stdin is not None
        other.stdin.write("by the survivor\n")
        other.stdin.flush()
        programs.until(lambda: "by the survivor" in site.server.contents(), "the survivor sends")
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()


def test_four_processes_on_one_outbox_lose_nothing_and_keep_the_order_of_a_session(site: Site) -> None:
    code = """
name = os.environ["CREWMEM_TEST_NAME"]
for number in range(40):
    say(f"{name}-{number}", session=name)
    say(f"{name}-{number}", session="together")
    time.sleep(0.01)
"""
    processes = [site.start(code, test_name=f"p{index}", flush_seconds="30") for index in range(4)]
    programs.until(lambda: len(site.server.contents()) > 40, "some events arrive")
    site.server.stop()  # an outage in the middle
    site.server.start()
    for process in processes:
        _, err = process.communicate(timeout=programs.PATIENCE_SECONDS)
        assert process.returncode == 0, err
    site.drain()
    for index in range(4):
        expected = [f"p{index}-{number}" for number in range(40)]
        assert first_times(site.server.contents(f"p{index}")) == expected
        assert first_times([c for c in site.server.contents("together") if c.startswith(f"p{index}-")]) == expected
    site.assert_file_is_sound()


def test_a_forked_child_publishes_beside_its_parent(site: Site) -> None:
    ended = site.run(
        """
say("parent before", session="parent")
children = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        for number in range(20):
            say(f"{number}", session=f"child {child}")
        publisher.flush(50)
        os._exit(0)
    children.append(pid)
for number in range(20):
    say(f"{number}", session="parent")
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
"""
    )
    assert ended.returncode == 0
    site.drain()
    numbers = [str(number) for number in range(20)]
    assert first_times(site.server.contents("parent")) == ["parent before", *numbers]
    for child in range(3):
        assert first_times(site.server.contents(f"child {child}")) == numbers
    site.assert_file_is_sound()


def test_a_fork_while_another_thread_publishes_hangs_nobody(site: Site) -> None:
    ended = site.run(
        """
import threading
stop = threading.Event()
def publish():
    number = 0
    while not stop.is_set():
        say(str(number), session="thread")
        number += 1
thread = threading.Thread(target=publish)
thread.start()
for child in range(15):
    pid = os.fork()
    if pid == 0:
        say(f"child {child}", session="children")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
thread.join()
""",
        flush_seconds="50",
    )
    assert ended.returncode == 0
    site.drain()
    assert first_times(site.server.contents("children")) == [f"child {child}" for child in range(15)]
    sent = first_times(site.server.contents("thread"))
    assert sent == [str(number) for number in range(len(sent))]
    site.assert_file_is_sound()


def test_a_fork_while_the_relay_imports_a_module_leaves_the_child_no_lock(site: Site, tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(1)")
    ended = site.run(
        """
from crewmem_producers.transport_memory import MemoryTransport
sys.path.insert(0, os.environ["CREWMEM_TEST_FOLDER"])

class Importing(MemoryTransport):
    async def send(self, events):
        print("sends", flush=True)
        import slow_to_import
        return await super().send(events)

publisher = Publisher(load(CrewSettings), transport=Importing)
say("parent")
time.sleep(0.5)  # the relay is in the middle of its import
pid = os.fork()
receipt = say("both")
print(receipt.token(30), flush=True)
if pid:
    assert os.waitpid(pid, 0)[1] == 0
""",
        test_folder=str(tmp_path),
    )
    assert ended.returncode == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_children_have_delivered_when_they_end(site: Site, tmp_path: Path, method: str) -> None:
    module = tmp_path / "program.py"
    module.write_text(
        PUBLISHER
        + f"""
import multiprocessing

def work(number):
    say(f"worker {{number}}", session=f"w{{number}}")

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    workers = [context.Process(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    os._exit(max(worker.exitcode for worker in workers))  # the parent itself sends nothing
"""
    )
    ended = programs.run(
        f"import runpy; runpy.run_path({str(module)!r}, run_name='__main__')", **site.environment, flush_seconds="30"
    )
    assert ended.returncode == 0, ended.stderr
    assert sorted(site.server.contents()) == ["worker 0", "worker 1"]


PRELOADED = """
say("loaded by the master", session="master")
publisher.flush(50)
for worker in range(3):
    if os.fork() == 0:
        os.close(0)
        for number in range(60):
            say(str(number), session=f"worker {worker}")
            time.sleep(0.02)
        print("sent" if publisher.flush(float(os.environ["CREWMEM_TEST_PATIENCE"])) else "stuck", flush=True)
        os._exit(0)
print("forked", flush=True)
time.sleep(600)
"""


def run_preloaded(site: Site, code: str, *, patience: str) -> list[str]:
    """The workers' last words, after the master was killed."""
    process = site.start(code, test_patience=patience)
    assert process.stdout is not None and process.stdout.readline() == "forked\n"
    programs.until(lambda: site.status().delivered > 0, "the master has published")
    process.kill()
    process.wait()
    out, _ = process.communicate(timeout=programs.PATIENCE_SECONDS)  # ends when the last worker has closed its output
    return out.split()


def test_preloaded_workers_deliver_when_the_master_is_killed(site: Site) -> None:
    assert run_preloaded(site, PRELOADED, patience="50") == ["sent"] * 3
    for worker in range(3):
        assert first_times(site.server.contents(f"worker {worker}")) == [str(number) for number in range(60)]
    site.assert_file_is_sound()


def test_the_test_of_preloaded_workers_finds_a_publisher_that_knows_of_no_fork(site: Site) -> None:
    blind = "from crewmem_producers import forks\nforks.watch = lambda *_: None\npublisher = Publisher(load(CrewSettings))\n"
    assert "sent" not in run_preloaded(site, blind + PRELOADED, patience="3")


def test_a_notebook_publishes_from_its_running_loop(site: Site) -> None:
    ended = site.run(
        """
import asyncio

async def cell():
    receipt = say("from a cell")
    first = receipt.token(30)
    second = await (await publisher.apublish(remembered("awaited"))).atoken(30)
    print(first, second, await publisher.aflush(30))

loop = asyncio.new_event_loop()
loop.run_until_complete(cell())
loop.run_until_complete(cell())
asyncio.run(cell())
"""
    )
    assert ended.stdout.splitlines() == ["1.0.0 1.0.1 True", "1.0.2 1.0.3 True", "1.0.4 1.0.5 True"]


def test_a_disk_that_is_full_is_a_clear_error_and_loses_nothing(site: Site) -> None:
    site.server.stop()
    ended = site.run(
        """
import resource
from crewmem_producers.errors import OutboxBroken
say("kept")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # no file may grow past this, as on a full disk
try:
    for number in range(100):
        say(os.urandom(4_000).hex(), session="large")  # an event has at most 10,000 characters
except OutboxBroken as error:
    print(type(error.__cause__).__name__, error)
os._exit(0)
"""
    )
    assert ended.stdout.startswith("OperationalError") and "CREWMEM_OUTBOX_DIR" in ended.stdout
    site.server.start()
    site.drain()
    assert site.server.contents("s") == ["kept"]
    site.assert_file_is_sound()
