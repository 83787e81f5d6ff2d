"""What LanceDB raises, as errors of crewmem."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from crewmem_producers.errors import StoreUnavailable

from crewmem_store.errors import StoreDamaged

PANICS = frozenset({"PanicException", "RustPanic"})
"""Classes of its native part; neither can be imported, and the first is no Exception."""


_DAMAGE = (
    "Not found:", "failed to fill whole buffer", "Invalid range", "failed to decode",
    "LanceError(Arrow)", "Invalid argument error", "orrupt",
)  # fmt: skip
"""What Lance says of a file that its manifest names and that is gone, cut short or changed. A clean-up may also have taken the
file of an older version away: whoever reads looks at the newest one then, and tries again."""

REMEDY = "`crewmem replay` builds the memory again from the log"


@contextmanager
def answering(doing: str, *, what: str = "the store") -> Iterator[None]:
    """Runs LanceDB or file calls; whatever they raise becomes StoreUnavailable, with the first line of what was said. Of a
    file that is gone or cannot be decoded it is StoreDamaged.

    LanceDB raises OSError, RuntimeError and ValueError alike for files that are away, torn or locked, and panics.
    """
    try:
        yield
    except StoreUnavailable:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise _unavailable(what, doing, error) from error
    except BaseException as error:
        if type(error).__name__ in PANICS:
            raise _unavailable(what, doing, error) from error
        raise


def is_missing_table(error: BaseException) -> bool:
    """Whether LanceDB says that there is no table of that name."""
    return isinstance(error, ValueError) and "was not found" in str(error)


def already_exists(error: BaseException) -> bool:
    """Whether another process was quicker to create the table."""
    return isinstance(error, ValueError) and "already exists" in str(error)


def _unavailable(what: str, doing: str, error: BaseException) -> StoreUnavailable:
    said = (str(error) or type(error).__name__).splitlines()[0][:300]
    if any(sign in said for sign in _DAMAGE):
        return StoreDamaged(f"{what} is damaged, {doing} failed: {said}. {REMEDY}")
    return StoreUnavailable(f"{what} failed while {doing}: {said}")
