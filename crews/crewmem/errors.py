"""The errors that a crew's project meets, and the command line's own; `crewmem_producers.errors` has the rest of the tree.

CrewmemError
├── SessionMissing       a kickoff or a tool without a session, or a thread that lost its own
│   └── SessionFailed    the session function raised, or returned what is not a session
├── NotFresh             the view did not reach the token in time (`recall(strict=True)`)
├── RequestRefused       the service refused the arguments (400, 413)
│   └── NotFound         no such memory (404)
├── TransportRefused     (producers) the destination refused the caller
│   ├── KeyRefused       the API key is missing, wrong, revoked or expired (401)
│   └── RightRefused     the API key may not do that, or not in that session (403)
├── Unavailable          (producers) a part of the surroundings is away
│   ├── ServiceUnavailable  connection, time-out, 429 or 5xx
│   └── LogUnavailable   the log did not acknowledge (CREWMEM_DURABILITY=log)
├── SettingsError, InvalidName, MissingExtra (producers) what was set, named or installed cannot be used
│   └── UnsupportedCrewAI    the CrewAI that is installed is too old or too new (of MissingExtra)
├── OutboxFull, OutboxBroken (producers) nothing more can be kept on this machine's disk
├── InvalidEvent, EventTooLarge, EventRefused, TokenTimeout (producers) what publishing events of your own meets
└── (`crewmem.cli.errors`, of commands)
    ├── CheckFailed      a check found something wrong (exit code 1)
    ├── HomeInUse        another `crewmem up` runs on the same folder
    ├── AddressInUse     something else listens where the service should
    ├── MasterKeyLost    the key that sealed this log is gone
    ├── KeysLeft         data keys open with a master key that is not here
    ├── KeyNotLost       a data key that is there, or that no record names
    ├── UnknownEvent     no event of that id has been processed
    └── UnknownLetter    no dead letter of that id or position
"""

from __future__ import annotations

from crewmem_producers.errors import (
    CrewmemError,
    EventRefused,
    EventTooLarge,
    InvalidEvent,
    InvalidName,
    LogUnavailable,
    MissingExtra,
    OutboxBroken,
    OutboxFull,
    ServiceUnavailable,
    SettingsError,
    TokenTimeout,
    TransportRefused,
    Unavailable,
)

__all__ = [
    "CrewmemError",
    "EventRefused",
    "EventTooLarge",
    "InvalidEvent",
    "InvalidName",
    "KeyRefused",
    "LogUnavailable",
    "MissingExtra",
    "NotFound",
    "NotFresh",
    "OutboxBroken",
    "OutboxFull",
    "RequestRefused",
    "RightRefused",
    "ServiceUnavailable",
    "SessionFailed",
    "SessionMissing",
    "SettingsError",
    "TokenTimeout",
    "TransportRefused",
    "Unavailable",
    "UnsupportedCrewAI",
]


class SessionMissing(CrewmemError, LookupError):
    """No session was given, and guessing one would mix customers. The message names the ways to give one."""


class SessionFailed(SessionMissing):
    """The session function raised, or returned what is not a session; its own exception is the cause. Fix the function."""


class NotFresh(CrewmemError, TimeoutError):
    """The view did not reach the freshness token, or the log's end, in time. Ask again, or recall without `strict`."""


class RequestRefused(CrewmemError, ValueError):
    """The service refused the arguments; the message says which and why. Mend the call: repeating it changes nothing."""


class NotFound(RequestRefused, LookupError):
    """No memory or event has that id in a session that this key may use. `crewmem list` shows what there is."""


class KeyRefused(TransportRefused):
    """The API key is missing, wrong, revoked or expired. Check CREWMEM_API_KEY; `crewmem keys create` makes a new one."""


class RightRefused(TransportRefused):
    """The API key lacks the right, or may not use that session. `crewmem keys list` shows what it may do."""


class UnsupportedCrewAI(MissingExtra):
    """CrewAI is installed in a version that crewmem does not work with. Install one of the range that the message names."""
