"""The errors of the producing side.

CrewmemError
├── InvalidName          a tenant, session or key that cannot be used
├── InvalidEvent         a record that is not an event, and never will be
│   ├── NewerSchema      written by a newer crewmem than this one
│   └── EventTooLarge    over the size that the log takes
├── SettingsError        a setting that is missing, malformed or unknown
├── MissingExtra         an optional part that is not installed (also an ImportError)
├── PythonTooOld         a part that needs a newer Python (also an ImportError)
├── Unavailable          a part of the surroundings is away; try again later
│   ├── KeyMissing       a key that opens what was sealed is not here (yet)
│   ├── MasterRetired    the master key that is sealed for was given up; nothing is sealed until the new one is set
│   ├── LogUnavailable
│   │   └── LoginRefused Kafka does not let this user in at present
│   ├── RegistryUnavailable
│   ├── ServiceUnavailable
│   │   └── ServiceBusy
│   └── StoreUnavailable
├── KeyErased            what was sealed can never be opened again: its session was erased
├── NewKeyUnknown        a master key that not everybody who opens events holds yet
├── LogRefused           the log is not what crewmem needs (partitions, retention, policy)
├── TransportRefused     the destination refused the caller (key, rights, address)
├── EventRefused         the destination refused one event for ever
├── OutboxFull           the outbox is at its limit
├── OutboxBroken         the outbox's file cannot be written or read
└── TokenTimeout         no freshness token within the time that was given
"""

from __future__ import annotations

from typing import Any


class CrewmemError(Exception):
    """Base of every error that crewmem raises; its text says what is wrong and what to do.

    Every one can be pickled, whatever its constructor takes: class, `args`, text and attributes come back, so that a caller of
    a process pool or of a Celery worker catches it by its class.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (type(self), self.args, self.__dict__)


class InvalidName(CrewmemError, ValueError):
    """A name cannot be used. Sessions have 1 to 200 characters and no control characters; tenants match [a-z0-9-]{1,40}."""


MOST_SAID = 1000
"""Characters of what is said of an invalid event, at most."""


class InvalidEvent(CrewmemError, ValueError):
    """A record cannot be read as an event; it goes to the dead letters. `reason` is a short code such as `not_json`."""

    def __init__(self, message: str, *, reason: str = "invalid_event") -> None:
        """`message` may quote what came from outside: it is cut to MOST_SAID characters, and a half surrogate, which no store
        or header can hold, is spelt out."""
        super().__init__(message[:MOST_SAID].encode("utf-8", "backslashreplace").decode())
        self.reason = reason


class NewerSchema(InvalidEvent):
    """The event was written by a newer crewmem. Update this consumer; the event waits in the dead letters until then."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="newer_schema")


class EventTooLarge(InvalidEvent):
    """The event is larger than the log takes (12 MB). Publish less text per event."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="too_large")


class SettingsError(CrewmemError, ValueError):
    """A setting is missing, malformed or unknown. `crewmem config show` lists each one with its value and origin."""


class MissingExtra(CrewmemError, ImportError):
    """An optional part of crewmem is not installed. Install the extra that the message names."""


class PythonTooOld(CrewmemError, ImportError):
    """The consumer and the service need Python 3.11. Run them in an environment of their own; the message names the command."""


class Unavailable(CrewmemError, ConnectionError):
    """A part of the surroundings does not answer now. Nothing is lost: try again later."""


class KeyMissing(Unavailable):
    """A sealed event cannot be opened here: its data key is not in the registry, or CREWMEM_MASTER_KEY does not hold the
    master key that the message names. Give it back; whoever reads the log waits until then, and nothing is skipped."""


class MasterRetired(Unavailable):
    """Nothing may be sealed for this master key any more. Set CREWMEM_MASTER_PUBLIC_KEY (or CREWMEM_MASTER_KEY) to the new
    one that `crewmem keys rotate-master` moved to; what was published waits until then."""


class LogUnavailable(Unavailable):
    """The event log does not answer or did not acknowledge. Check the broker (`crewmem doctor`); what was not sent waits."""


class LoginRefused(LogUnavailable):
    """Kafka does not let this user in at present: a password or certificate was changed there and not here, or the other way
    round. Put the new one into the file that the settings name; it is read again with each try."""


class RegistryUnavailable(Unavailable):
    """The registry does not answer. Check the broker (`crewmem doctor`) and try again."""


class ServiceUnavailable(Unavailable):
    """The recall service does not answer. Start it (`crewmem up` or `crewmem serve`) or check CREWMEM_BASE_URL.

    `retry_after_seconds` is how long the service asked to be left alone, if it did.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ServiceBusy(ServiceUnavailable):
    """The recall service has as much of this caller as it may have now (429), and asks to send the rest later. Nothing is
    lost: what is published waits in the outbox."""


class StoreUnavailable(Unavailable):
    """The store does not answer. Check its folder or bucket (`crewmem doctor`); the consumer waits and tries again."""


class KeyErased(CrewmemError):
    """The event's session was erased, and with it the data key that opens the event. There is no remedy: that is what
    `crewmem forget --session NAME --erase` is for."""


class NewKeyUnknown(CrewmemError):
    """Who opens events does not hold the new master key yet: what is wrapped with it would have to wait. The message names
    the processes; add the key to their CREWMEM_MASTER_KEY, behind the old one."""


class LogRefused(CrewmemError):
    """The log is not what crewmem needs; the message names the setting and the command that mends it."""


class TransportRefused(CrewmemError):
    """The destination refused the caller: a wrong API key, right or address. Check CREWMEM_API_KEY and CREWMEM_BASE_URL."""


class EventRefused(CrewmemError):
    """The destination refused an event for ever; the message says why. `crewmem outbox status` shows it among the dead
    letters, unless nothing is kept (CREWMEM_DURABILITY=log)."""


class OutboxFull(CrewmemError):
    """The outbox is full. Start the service or broker so that it drains, or raise CREWMEM_OUTBOX_MAX_MB."""


class OutboxBroken(CrewmemError):
    """The outbox's file cannot be written or read: disk full, no rights, damaged. The message names the file and the remedy."""


class TokenTimeout(CrewmemError, TimeoutError):
    """The log did not acknowledge in time. The event is in the outbox and will be sent later."""


def restored(kind: type[CrewmemError], args: tuple[Any, ...], attributes: dict[str, Any]) -> CrewmemError:
    """The unpickled error. Its constructor is not called: that one may take other arguments than `args`."""
    error: CrewmemError = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


def missing_extra(extra: str, module: str) -> MissingExtra:
    """The one ImportError for a part that is not installed; names the pip command."""
    return MissingExtra(f'{module} is not installed: run  pip install "crewmem[{extra}]"')
