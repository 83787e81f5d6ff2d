"""The story: five acts on a stack that really runs, each with what it claims."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from crewmem.cli.console import working
from crewmem.cli.demo.claims import Claims, mentions
from crewmem.cli.demo.crew import RESEARCH_GOAL, STRATEGY_GOAL
from crewmem.cli.demo.look import Service, decisions, run_crew
from crewmem.cli.demo.show import Show
from crewmem.cli.demo.stack import Stack

SESSION = "project_q1_launch"
OTHER_SESSION = "project_q1_hiring"
COMPETITORS = ("Acme", "Globex", "Initech")
NEWCOMER = "Hooli"
LAST_WORD = "The launch must not undercut 29 dollars per seat: the board decided so on Friday."
PASSWORD = "Tr0ub4dor-3x9Q"


class Story:
    """Tells the acts in order; each leaves its claims in `claims`. `offline`: no real model is asked."""

    def __init__(self, stack: Stack, folder: Path, show: Show, *, offline: bool) -> None:
        self._stack = stack
        self._folder = folder
        self._show = show
        self._offline = offline
        self._service = Service(stack)
        self._research_process = 0
        self.claims = Claims()

    def tell(self) -> None:
        self._first_research()
        self._strategy()
        self._research_again()
        self._other_session()
        self._killed()

    def _first_research(self) -> None:
        self._show.act(
            1, "A research crew finds something out",
            f"Senior Researcher and Content Writer, an unchanged CrewAI crew after crewmem.install(session={SESSION!r}). "
            f"Its goal: {RESEARCH_GOAL.lower()}.",
        )  # fmt: skip
        report = self._run("research", SESSION)
        self._research_process = report["process"]
        self._show.recalled(report["memories"])
        self._show.answer(report)
        self._became(report)
        self._claim("the first run starts with an empty memory", not report["memories"])
        self._claim("its output was on the log when its process ended", report["published"])
        self._claim("something of it is remembered", bool(self._service.memories(SESSION)))

    def _strategy(self) -> None:
        self._show.act(
            2, "A strategy crew in another process plans with it",
            f"Nothing is handed over: its task names no competitor. Its goal: {STRATEGY_GOAL}. "
            "It runs twice, without memory and with it.",
        )  # fmt: skip
        report = self._run("strategy", SESSION)
        self._show.recalled(report["memories"])
        self._show.compared(report)
        self._became(report)
        without, plan = _text(report["without_memory"]), _text(report["outputs"])
        self._claim("it ran in another process", report["process"] != self._research_process)
        self._claim("it recalled what the research crew had found", bool(report["memories"]))
        self._claim("without memory its plan names no competitor", not mentions(without, COMPETITORS), worded=True)
        self._claim("with memory its plan names all three", len(mentions(plan, COMPETITORS)) == len(COMPETITORS), worded=True)

    def _research_again(self) -> None:
        self._show.act(
            3, "The research crew runs again and does not repeat what is known",
            "The same crew in a third process. Its sources say the same as before, and one thing more.",
        )  # fmt: skip
        before = {memory["id"] for memory in self._service.memories(SESSION)}
        report = self._run("research-later", SESSION)
        self._show.recalled(report["memories"])
        self._show.answer(report)
        self._became(report)
        found = report["outputs"][0]["text"]
        new = [memory for memory in self._service.memories(SESSION) if memory["id"] not in before]
        repeated = [memory for memory in new if mentions(memory["content"], COMPETITORS)]
        self._claim("it knew what the first run had found", bool(report["memories"]))
        self._claim(f"it reports what is new ({NEWCOMER})", bool(mentions(found, [NEWCOMER])), worded=True)
        self._claim("it reports nothing again that was known", not mentions(found, COMPETITORS), worded=True)
        self._claim("no memory was made that says the old facts again", not repeated, worded=True)

    def _other_session(self) -> None:
        self._show.act(
            4, "A second session sees nothing of it",
            f"The strategy crew once more, for session {OTHER_SESSION}.",
        )  # fmt: skip
        report = self._run("strategy", OTHER_SESSION)
        self._show.recalled(report["memories"])
        self._show.answer(report)
        self._became(report)
        leaked = self._service.recall("competitor pricing", OTHER_SESSION, top_k=100)
        self._claim("it recalled nothing", not report["memories"])
        self._claim("no memory of its session tells of a competitor", not mentions(str(leaked), COMPETITORS))
        self._claim("an answer that says nothing was not remembered", not leaked, worded=True)

    def _killed(self) -> None:
        self._show.act(
            5, "kill -9, and everything is still there",
            f"Somebody remembers one thing more, a password with it, and in the moment in which that is acknowledged the "
            f"whole stack (process {self._stack.pid}) is killed.",
        )  # fmt: skip
        before = {memory["id"]: memory["content"] for memory in self._service.memories(SESSION)}
        self._service.remember(f"{LAST_WORD} The minutes are on the drive, password: {PASSWORD}", SESSION)
        self._stack.kill()
        with working("starting `crewmem up` again"):
            self._stack.start()
        found = self._service.recall("what price must the launch not go below?", SESSION)
        after = {memory["id"]: memory["content"] for memory in self._service.memories(SESSION)}
        self._show.say(f"started again as process {self._stack.pid}")
        self._show.recalled(found[:3], title="recalled after the restart")
        said = " ".join(after.values())
        self._claim("every memory from before is there, word for word", before.items() <= after.items())
        self._claim("so is the last one, said just before the kill", LAST_WORD in said)
        self._claim("the password in it never reached the store", PASSWORD not in said)
        added = Counter(after.values()) - Counter(before.values())
        self._claim("and nothing was stored a second time", added.total() == 1)

    def _run(self, crew: str, session: str) -> dict[str, Any]:
        with working(f"the {crew.partition('-')[0]} crew runs"):
            return run_crew(self._stack, self._folder, crew, session)

    def _became(self, report: dict[str, Any]) -> None:
        """Prints what became of what the crew published."""
        self._service.recall("anything", report["session"])  # waits until the consumer has read it
        records = decisions(self._stack, report["event_ids"])
        self._show.published(records, report)
        self._show.decided(records, report)
        self._show.remembered(records)

    def _claim(self, says: str, holds: bool, *, worded: bool = False) -> None:
        """`worded`: depends on how the model puts it, so that it binds only the offline one."""
        self._show.claim(self.claims.check(says, holds, binding=self._offline or not worded))


def _text(outputs: list[dict[str, str]]) -> str:
    return "\n".join(output["text"] for output in outputs)
