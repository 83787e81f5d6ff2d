"""Worker processes: a record's texts are worked on where a budget of time and memory is enforced from outside.

A record that goes over its budget, or that makes the process crash, is tried once more alone in a new process; then it is a
dead letter, `too_costly`. A process that somebody else kills says nothing of the record: that is tried again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from crewmem_producers.setting_sources import PREFIX

from crewmem_consumers.errors import WorkerUnavailable
from crewmem_consumers.prepare import Failed, Outcome, Work
from crewmem_consumers.worker_process import READY, Budget, OverMemory

log = logging.getLogger("crewmem.consumer")

TOO_COSTLY = "too_costly"
"""Reason of a record whose texts take more time or memory than its budget."""
_PROGRAM = "import sys; from crewmem_consumers.worker_process import main; main(sys.argv[1:])"
_REMEDY = (
    "redrive it after an update of crewmem or of the rules, or with a larger CREWMEM_RECORD_SECONDS or CREWMEM_RECORD_MEGABYTES"
)
START_SECONDS = 120.0
"""How long a new process may take until it is ready, on a machine that is busy."""
WALL = 10.0
"""How many times its budget of CPU time a record may take by the clock: a busy machine makes no dead letter."""
LOOK_SECONDS = 0.1
"""How often one that waits for an answer says so."""
CHUNK_RECORDS = 32
CHUNK_BYTES = 1_000_000
"""What is handed to a process at once, at most."""
KILLS = 3
"""So often in a row a process may be killed over one record before that counts as an outage."""
_OWN_FAULTS = (signal.SIGXCPU, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


_Group = tuple[str, int]
"""Which generation, and how far its callers give way to others."""


class _Ended(Exception):
    """The process has ended. `blames_record`: by what it did, and not by somebody else's hand."""

    def __init__(self, detail: str, *, blames_record: bool) -> None:
        super().__init__(detail)
        self.blames_record = blames_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a process is started. `place` is `module:function`, what is done with a Work; empty: `prepare`. Tests set it."""

    budget: Budget
    place: str = ""
    wall_seconds: float | None = None

    @property
    def wall(self) -> float:
        """Seconds of the clock that a record may take."""
        return WALL * self.budget.seconds if self.wall_seconds is None else self.wall_seconds


class WorkerPool:
    """A `Preparer` over processes that are started when they are needed, one for each caller at a time, and for each group as
    many as there are cores at most. Thread-safe. Callers that give way to others have processes that do as well."""

    def __init__(self, budget: Budget, *, most: int | None = None, place: str = "", wall_seconds: float | None = None) -> None:
        """`most` is how many processes a group may have of one rank; `place` and `wall_seconds` are for tests."""
        self._start = Start(budget=budget, place=place, wall_seconds=wall_seconds)
        self._most = most or os.cpu_count() or 1
        self._room = threading.Condition()
        self._idle: dict[_Group, list[_Process]] = defaultdict(list)
        self._count: dict[_Group, int] = defaultdict(int)
        self._closed = False

    def prepare(self, works: Sequence[Work], *, group: str = "") -> Iterator[Outcome | None]:
        """See `Preparer`. Raises WorkerUnavailable."""
        for chunk in _chunks(works):
            yield from self._chunk(chunk, (group, _rank()))

    def close(self) -> None:
        """Ends every process that is idle; one that works ends when it is given back."""
        with self._room:
            self._closed = True
            idle = [process for processes in self._idle.values() for process in processes]
            self._idle.clear()
        for process in idle:
            process.kill()

    @property
    def pids(self) -> list[int]:
        """Of the processes that are idle now."""
        with self._room:
            return [process.pid for processes in self._idle.values() for process in processes]

    def _chunk(self, works: Sequence[Work], group: _Group) -> Iterator[Outcome | None]:
        done = 0
        while done < len(works):
            try:
                for outcome in self._asked(works[done:], group):
                    yield outcome
                    done += outcome is not None
            except _Ended as error:
                log.warning("a worker process ended over event %s: %s", works[done].event.id, error)
                yield from self._alone(works[done], group, error)
                done += 1

    def _alone(self, work: Work, group: _Group, error: _Ended) -> Iterator[Outcome | None]:
        """Once more in a new process, with nothing before it."""
        blamed, kills = int(error.blames_record), int(not error.blames_record)
        while True:
            try:
                yield from self._asked([work], group, fresh=True)
                return
            except _Ended as again:
                blamed, kills = blamed + again.blames_record, kills + (not again.blames_record)
                if blamed > 1:
                    log.error("event %s becomes a dead letter: %s", work.event.id, again)
                    yield Failed(TOO_COSTLY, f"{again}; {_REMEDY}")
                    return
                if kills >= KILLS:
                    raise WorkerUnavailable(f"the process that works on texts is killed again and again: {again}") from again

    def _asked(self, works: Sequence[Work], group: _Group, *, fresh: bool = False) -> Iterator[Outcome | None]:
        while not self._may_take(group):
            yield None
        process = self._taken(group, fresh=fresh)
        answered = False
        try:
            yield from process.ask(works)
            answered = True
        finally:  # a caller that stops in the middle leaves a process behind that is not done
            self._give_back(group, process if answered else None, ended=process)

    def _may_take(self, group: _Group) -> bool:
        with self._room:
            if self._closed:
                raise WorkerUnavailable("the consumer ends")
            if self._idle[group] or self._count[group] < self._most:
                return True
            self._room.wait(LOOK_SECONDS)
            return False

    def _taken(self, group: _Group, *, fresh: bool) -> _Process:
        with self._room:
            process = self._idle[group].pop() if self._idle[group] else None
            self._count[group] += process is None
        try:
            if process is not None and not fresh and process.is_alive:
                return process
            if process is not None:
                process.kill()
            return _Process(self._start)
        except BaseException:
            with self._room:
                self._count[group] -= 1
            raise

    def _give_back(self, group: _Group, process: _Process | None, *, ended: _Process) -> None:
        with self._room:
            if process is not None and not self._closed:
                self._idle[group].append(process)
            else:
                self._count[group] -= 1
                process = None
            self._room.notify()
        if process is None:
            ended.kill()


class _Process:
    """One process, ready. Belongs to one thread at a time."""

    def __init__(self, start: Start) -> None:
        """Raises WorkerUnavailable."""
        self._start = start
        ours, theirs = socket.socketpair()
        command = [
            sys.executable, "-c", _PROGRAM, str(theirs.fileno()), start.place or ":",
            str(start.budget.seconds), str(start.budget.megabytes),
        ]  # fmt: skip
        try:
            self._popen = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=_environment(), start_new_session=True
            )
        except (OSError, ValueError) as error:
            ours.close()
            raise WorkerUnavailable(f"the process that works on texts cannot be started: {error}") from error
        finally:
            theirs.close()
        self._connection = Connection(ours.detach())
        self._await_ready()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def ask(self, works: Sequence[Work]) -> Iterator[Outcome | None]:
        """An outcome for each; None while one is waited for. Raises _Ended."""
        self._send(pickle.dumps(list(works), pickle.HIGHEST_PROTOCOL))
        for _ in works:
            yield from self._answer()

    def kill(self) -> None:
        """Ends it, whatever it does."""
        with contextlib.suppress(OSError):
            self._popen.kill()
        self._popen.wait()
        self._connection.close()

    def _answer(self) -> Iterator[Outcome | None]:
        deadline, largest = time.monotonic() + self._start.wall, 0
        while not self._has_answer(largest):
            largest = max(largest, self._resident_bytes())
            if time.monotonic() > deadline:
                self.kill()
                raise _Ended(f"it took more than {self._start.wall:g} seconds", blames_record=True)
            yield None
        answer = self._received(largest)
        if isinstance(answer, OverMemory):
            self.kill()
            raise _Ended(f"it took more than {self._start.budget.megabytes} MB of memory", blames_record=True)
        yield answer

    def _has_answer(self, largest: int) -> bool:
        try:
            return self._connection.poll(LOOK_SECONDS)
        except (OSError, EOFError) as error:
            raise self._ended(largest) from error

    def _received(self, largest: int) -> Outcome | OverMemory:
        try:
            answer: Outcome | OverMemory = pickle.loads(self._connection.recv_bytes())
        except (OSError, EOFError) as error:
            raise self._ended(largest) from error
        return answer

    def _send(self, message: bytes) -> None:
        try:
            self._connection.send_bytes(message)
        except OSError as error:
            raise self._ended(0) from error

    def _ended(self, largest: int) -> _Ended:
        """Why it has ended. One that is killed while it holds much memory was killed for that, by the kernel."""
        self.kill()
        code = self._popen.returncode
        if code == -signal.SIGXCPU:
            return _Ended(f"it took more than {self._start.budget.seconds:g} seconds of CPU time", blames_record=True)
        if -code in _OWN_FAULTS or code > 0:
            return _Ended(f"the process that worked on it crashed (exit status {code})", blames_record=True)
        heavy = largest > self._start.budget.megabytes * 2**20 // 4
        return _Ended(f"the process that worked on it was killed (exit status {code})", blames_record=heavy)

    def _resident_bytes(self) -> int:
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):  # not Linux, or it has just ended
            return 0

    def _await_ready(self) -> None:
        try:
            if self._connection.poll(START_SECONDS) and pickle.loads(self._connection.recv_bytes()) == READY:
                return
        except (OSError, EOFError):
            pass
        self.kill()
        status = self._popen.returncode
        raise WorkerUnavailable(
            f"the process that works on texts does not start (exit status {status}): see its standard error"
        )


def _environment() -> dict[str, str]:
    """What this process imports, that one does too. It gets no setting, so no key, and its numerical libraries no threads."""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**plain, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _rank() -> int:
    """How far the calling thread gives way to others: a process that it starts does as well."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) if sys.platform == "linux" else 0


def _chunks(works: Sequence[Work]) -> Iterator[Sequence[Work]]:
    chunk: list[Work] = []
    size = 0
    for work in works:
        size += _characters(work)
        if chunk and (len(chunk) == CHUNK_RECORDS or size > CHUNK_BYTES):
            yield chunk
            chunk, size = [], _characters(work)
        chunk.append(work)
    if chunk:
        yield chunk


def _characters(work: Work) -> int:
    """About how large its message is."""
    body = work.event.body
    return sum(len(text) for text in (getattr(body, "content", ""), getattr(body, "raw", ""))) + sum(
        len(task.raw) for task in getattr(body, "tasks", ())
    )
