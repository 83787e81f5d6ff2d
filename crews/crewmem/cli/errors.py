"""The errors of the command line; `crewmem.errors` draws them in the tree."""

from __future__ import annotations

from crewmem_producers.errors import CrewmemError


class CheckFailed(CrewmemError):
    """A check found something wrong; what it printed says what, and what to do."""


class HomeInUse(CrewmemError):
    """Another `crewmem up` runs on this folder. Stop that one, or choose another folder with `--home`."""


class MasterKeyLost(CrewmemError):
    """The master key of this folder's log is gone. Put it back from your copy; the message says what goes on without it."""


class KeysLeft(CrewmemError):
    """Some data keys open with master keys that are not held here. Add those to CREWMEM_MASTER_KEY and rotate again."""


class KeyNotLost(CrewmemError):
    """What is not lost is not given up; the message says where the key is. `crewmem keys lost` shows those that are."""


class AddressInUse(CrewmemError):
    """Something else listens on this address. Stop it, or choose another port with `--port`."""


class UnknownEvent(CrewmemError, LookupError):
    """No event of that id has been processed. Check the id (`crewmem list --json`), or wait for the consumer."""


class UnknownLetter(CrewmemError, LookupError):
    """No dead letter has that event id or position. `crewmem dlq list` shows the open ones, with `--where true` all."""
