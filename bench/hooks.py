"""What crewmem costs a crew: the hooks in a kickoff whose model answers in 0 ms, publish(), and the import.

The floor is the same crew without crewmem, in alternating rounds. The service is `crewmem up` in a process of its own, with
the real embedder; "down" is a port where nobody listens.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
for name in [name for name in os.environ if name.startswith("CREWMEM_")]:
    del os.environ[name]

MILLISECONDS = 1000.0
MEMORIES = 200


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def row(name: str, seconds: Sequence[float], floor: Sequence[float], digits: int = 1) -> str:
    """Minimum, median and p95 in ms, and the median of the rounds' own ratios to the floor."""
    shown = [min(seconds), statistics.median(seconds), quantile(seconds, 0.95)]
    ratio = statistics.median(a / b for a, b in zip(seconds, floor, strict=True))
    return f"| {name} | " + " | ".join(f"{value * MILLISECONDS:.{digits}f}" for value in shown) + f" | {ratio:.2f} |"


@contextmanager
def up(folder: Path) -> Iterator[dict[str, str]]:
    """`crewmem up` with a home of its own; the settings with which a crew finds it."""
    home = folder / "service"
    command = [sys.executable, "-m", "crewmem.cli", "up", "--home", str(home), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    assert process.stdout is not None
    found = {}
    for line in process.stdout:
        if line.startswith("url"):
            found = {"base_url": line.split()[1], "api_key": (home / "api_key").read_text().strip()}
        if line.strip() == "ready":
            break
    try:
        yield found
    finally:
        process.terminate()
        process.wait()


def crew() -> Any:
    """Two agents, two tasks, a model that answers at once."""
    from crewai import Agent, BaseLLM, Crew, Task

    class Instant(BaseLLM):
        def call(self, messages: Any, *args: Any, **options: Any) -> str:
            return "Acme Corp charges 49 dollars per seat and month."

        def get_input_tokens_count(self, *args: Any, **options: Any) -> int:
            return 1

    llm = Instant(model="instant")
    agents = [Agent(role=role, goal="g", backstory="b", llm=llm) for role in ("Researcher", "Writer")]
    tasks = [Task(description=f"{agent.role}: what does Acme charge?", expected_output="x", agent=agent) for agent in agents]
    return Crew(agents=agents, tasks=tasks)


def kickoffs(rounds: int, folder: Path, service: dict[str, str]) -> list[str]:
    """Rows: the bare crew, with the service up, and with nobody there."""
    import crewmem
    from crewmem.connection import close_all
    from crewmem.hooks import unregister

    memstore = crewmem.Memstore(**service, home=folder / "up")
    for number in range(MEMORIES):
        memstore.remember(f"Competitor {number} charges {number} dollars per seat.", session="bench", wait_seconds=0)
    away = {"base_url": "http://127.0.0.1:9", "api_key": service["api_key"]}

    def bare() -> float:
        unregister()
        return timed(crew().kickoff)

    def with_service() -> float:
        crewmem.install(session="bench", **service, home=folder / "up")
        return timed(crew().kickoff)

    def without_service() -> float:
        crewmem.install(session="bench", **away, home=folder / "away", flush_seconds=2.0)
        return timed(crew().kickoff)

    first_without = without_service()  # waits CREWMEM_FLUSH_SECONDS, once
    forms = {"the bare crew": bare, "with crewmem, service up": with_service, "with crewmem, service down": without_service}
    times: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(rounds + 2):
        for name, form in forms.items():
            seconds = form()
            if number >= 2:  # the first two warm everything up
                times[name].append(seconds)
    unregister()
    close_all()
    rows = [row(name, seconds, times["the bare crew"]) for name, seconds in times.items()]
    return [
        *rows,
        "",
        f"The first kickoff after the service went away took {first_without:.1f} s (CREWMEM_FLUSH_SECONDS is 2).",
    ]


def publishing(count: int, folder: Path, service: dict[str, str]) -> list[str]:
    """Rows: a write of the same size with fsync, and publish() with the service up and down."""
    from crewmem import Publisher
    from crewmem_producers.events import Event, KickoffCompleted, TaskOutput
    from crewmem_producers.names import Scope
    from crewmem_producers.settings import CrewSettings, load

    body = KickoffCompleted(crew="bench", raw="x" * 2000, tasks=[TaskOutput(index=0, raw="x" * 2000)])
    plain = (folder / "plain").open("wb", buffering=0)

    def write() -> None:
        plain.write(b"x" * 4000)
        os.fsync(plain.fileno())

    publishers = {
        "publish(), service up": Publisher(load(CrewSettings, **service, home=folder / "publish-up")),
        "publish(), service down": Publisher(
            load(CrewSettings, base_url="http://127.0.0.1:9", api_key="x", home=folder / "publish-away")
        ),
    }
    times: dict[str, list[float]] = {"write and fsync of 4 kB": [], **{name: [] for name in publishers}}
    for number in range(count + 20):
        found = {"write and fsync of 4 kB": timed(write)}
        for name, publisher in publishers.items():
            event = Event(body=body, scope=Scope.of("default", "bench"))
            found[name] = timed(lambda publisher=publisher, event=event: publisher.publish(event))  # type: ignore[misc]
        if number >= 20:
            for name, seconds in found.items():
                times[name].append(seconds)
    for publisher in publishers.values():
        publisher.close()
    lines = []
    for name, seconds in times.items():
        p50, p99 = (quantile(seconds, share) * MILLISECONDS for share in (0.5, 0.99))
        lines.append(f"| {name} | {p50:.2f} | {p99:.2f} |")
    return lines


def imports(rounds: int) -> list[str]:
    """Rows: an empty interpreter, `import crewmem`, with install and Memstore named, and `import crewai` for comparison."""
    forms = {
        "python alone": "pass",
        "import crewmem": "import crewmem",
        "import crewmem, Memstore and install named": "import crewmem; crewmem.Memstore; crewmem.install",
        "import crewai": "import crewai",
    }
    code = (
        "import time, resource; a = time.perf_counter(); m = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; {};"
        "print(time.perf_counter() - a, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - m)"
    )
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, statement in forms.items():
            out = subprocess.check_output([sys.executable, "-c", code.format(statement)], text=True).split()
            found[name].append((float(out[0]), float(out[1]) / 1024))
    return [
        f"| {name} | {min(s for s, _ in runs):.3f} | {statistics.median(s for s, _ in runs):.3f} | "
        f"{statistics.median(mb for _, mb in runs):.0f} |"
        for name, runs in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    full = parser.parse_args().full
    rounds, count, starts = (100, 5000, 15) if full else (20, 500, 4)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        started = imports(starts)
        with up(folder) as service:
            kicked = kickoffs(rounds, folder, service)
            published = publishing(count, folder, service)
    print("## What do the hooks, publish() and the import cost a crew?\n")
    print(
        f"A crew of two agents with a 0 ms model, {rounds} alternating rounds; the service holds {MEMORIES} memories of the\n"
        "session, and each kickoff recalls, publishes and waits for the log. The ratio is to the bare crew of the same round.\n"
    )
    print("| kickoff | min ms | median ms | p95 ms | ratio |\n|---|---|---|---|---|\n" + "\n".join(kicked) + "\n")
    print(f"{count} events of 4 kB, one at a time, in alternating rounds:\n")
    print("| | p50 ms | p99 ms |\n|---|---|---|\n" + "\n".join(published) + "\n")
    print(f"{starts} starts of a process each:\n")
    print("| | min s | median s | MB |\n|---|---|---|---|\n" + "\n".join(started))


if __name__ == "__main__":
    main()
