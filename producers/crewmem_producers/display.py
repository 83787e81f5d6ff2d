"""Text of others made safe to show: in a prompt, on a terminal, in a log line.

Whoever may write to a session chooses its names and its contents. A line feed in a role would start a line of its own in a
system prompt, an escape sequence would steer a terminal, tag and bidirectional characters would say to a model what a person
does not see.
"""

from __future__ import annotations

import re

MAX_NAME_CHARACTERS = 60
"""Characters of a name that are shown: of a role, a crew, a speaker, a session, a key, a host."""

_READ_CHARACTERS = 16 * MAX_NAME_CHARACTERS
"""Characters of a name that are looked at: the rest of a long one is never shown."""

_CONTROL = "\x00-\x1f\x7f-\x9f"
_FORMAT = (
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff"
"""Drawn as nothing, though Unicode calls them letters or marks: fillers, variation selectors; and the plane of the tags."""
_SURROGATES = "\ud800-\udfff"
_SEPARATORS = "\u2028\u2029"

_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_HIDDEN = re.compile(f"[{_CONTROL}{_FORMAT}{_INVISIBLE}{_SURROGATES}{_SEPARATORS}]")
_HIDDEN_IN_TEXT = re.compile(f"(?![\n\t])[{_CONTROL}{_FORMAT}{_INVISIBLE}{_SURROGATES}{_SEPARATORS}]")
_EMOJI = re.compile("[\u200d\ufe0f]")
"""What joins and colours emoji: harmless on a terminal, and in most chats of today."""


def display_name(name: object) -> str:
    """A name as a prompt, a terminal or a log line shows it: one line of at most MAX_NAME_CHARACTERS, without control, format,
    tag and other invisible characters. None is empty."""
    read = "" if name is None else str(name)[:_READ_CHARACTERS]
    shown = " ".join(_HIDDEN.sub("", _LINE_ENDS.sub(" ", read).replace("\n", " ").replace("\t", " ")).split())
    return shown if len(shown) <= MAX_NAME_CHARACTERS else shown[: MAX_NAME_CHARACTERS - 1].rstrip() + "…"


def display_text(text: str) -> str:
    """A content as a prompt shows it: its lines and tabs stay, other control characters, format and tag characters go."""
    return _HIDDEN_IN_TEXT.sub("", _LINE_ENDS.sub("\n", text))


def visible(text: object) -> str:
    """The text as a terminal may have it: what it would obey, or not show, is written as an escape (`\\x1b`, `\\u202e`); lines,
    tabs and joined emoji stay. None is empty."""
    return _HIDDEN_IN_TEXT.sub(_escaped, "" if text is None else str(text))


def visible_line(text: object) -> str:
    """The same on one line: a line feed and a tab are written as `\\n` and `\\t`."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def json_visible(dumped: str) -> str:
    """JSON that says the same, with everything that a terminal would obey or not show as `\\u` escapes."""
    return _HIDDEN_IN_TEXT.sub(_json_escaped, dumped)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return character if _EMOJI.fullmatch(character) else character.encode("unicode_escape", "surrogatepass").decode()


def _json_escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
