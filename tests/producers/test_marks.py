import subprocess
import unicodedata
from pathlib import Path

import crewmem_producers
import pytest
from crewmem_producers.limits import MARKS_IN_A_RUN
from crewmem_producers.marks import cap_marks, has_long_run, normalised
from hypothesis import given
from hypothesis import strategies as st

RUNS = [
    "\u0301\u0316" * 40_000,  # marks of two classes, the later one first
    "\u0344\u0316" * 40_000,  # one that is decomposed into two
    "\u0f73\u0301" * 40_000,  # one of class 0, decomposed into two of others
    "\uff9e\u0316" * 40_000,  # one that only NFKC decomposes into a mark
    "\U0001e944\u0301" * 40_000,
]


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
@pytest.mark.parametrize("run", RUNS)
def test_a_run_of_marks_is_cut_so_that_normalising_it_takes_no_time(run: str, form: str) -> None:
    """Without the cut each of these takes half a minute."""
    assert has_long_run("a" + run)
    kept = normalised(form, f"a{run} b")  # type: ignore[arg-type]
    assert unicodedata.normalize("NFKD", kept).startswith("a") and kept.endswith(" b") and len(kept) <= 3 * MARKS_IN_A_RUN


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_other_text_is_normalised_as_python_does(text: str) -> None:
    if not has_long_run(text):
        assert cap_marks(text) == text
        assert normalised("NFKC", text) == unicodedata.normalize("NFKC", text)


def test_as_many_marks_as_are_allowed_stay_and_the_next_one_goes() -> None:
    allowed = "a" + "\u0316" * MARKS_IN_A_RUN
    assert cap_marks(allowed) == allowed and not has_long_run(allowed)
    assert cap_marks(allowed + "\u0316" + "b" + "\u0301") == allowed + "b" + "\u0301"


def test_every_character_that_begins_with_a_mark_when_it_is_decomposed_counts() -> None:
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            marks = unicodedata.combining(unicodedata.normalize("NFKD", chr(code))[0]) != 0
            assert has_long_run(chr(code) * (MARKS_IN_A_RUN + 1)) == marks, hex(code)


def test_nothing_else_of_crewmem_normalises_text() -> None:
    root = Path(crewmem_producers.__file__).parents[2]
    folders = [root / name for name in ("producers", "consumers", "store", "crews")]
    found = subprocess.run(
        ["grep", "-rln", "--include=*.py", "unicodedata.normalize", *folders], capture_output=True, text=True
    ).stdout.split()
    assert [Path(path).name for path in found] == ["marks.py"]
