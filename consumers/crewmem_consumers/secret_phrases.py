"""Secrets that a sentence tells: `the password for the wiki is ...`, `Пароль от сервера — ...`, `密码是...`.

A value counts when it looks made up, and stands after a verb, a colon, or right after the name.
"""

from __future__ import annotations

import re

from crewmem_consumers import secret_values as values
from crewmem_consumers.secret_names import Kind, Name

_REACH = 110
"""As far as a sentence goes from a name to its value, in characters."""
_MOST_WORDS = 14
_OPEN, _CLOSE = "\"'`([{<*_«„“「『‘", "\"'`)]}>*_»“”」』’.,;:?。，、…"
_CONNECTOR_TEXT = """
is was be to as now = : := -> → use using with set ist lautet heißt war auf mit est sera était es era será é foi son è
sarà luidt wordt är blev er var jest to je on это было — – - of by word called value reads says equals becomes remains
code are sind / und and
"""
_CONNECTORS = frozenset(_CONNECTOR_TEXT.split())
"""Words after which a sentence tells the value."""
_FILLER_TEXT = """
actually again already also always currently just likewise new now only simply still temporarily today übrigens jetzt nun
aktuell derzeit momentan weiterhin noch neu immer einfach désormais maintenant toujours actuellement ahora todavía siempre
actualmente agora sempre atualmente adesso ora ancora сейчас теперь пока nu altijd
"""
_FILLERS = frozenset(_FILLER_TEXT.split())
"""Words that may stand between those and the value."""
_WORD = re.compile(r"\S{1,400}+")
_ASCII_RUN = re.compile(r"[^\x00-\x7f]{0,14}[\s:：=「『（(\"'`*]{0,6}([!-~]{6,200}+)")
"""In scripts without spaces."""
_SEED = re.compile(
    r"[\s:='\"`(]{1,6}(?:(?:is|ist|est|es)[\s:='\"`]{1,4})?([A-Z2-7]{4}(?:[ -][A-Z2-7]{4}){3,15}|[A-Z2-7]{16,64})\b"
)
_MNEMONIC = re.compile(r"[^\w\n]{1,6}(?:is[^\w\n]{1,3})?([a-z]{3,8}(?:[ ,]{1,2}[a-z]{3,8}){11,23})\b")
_DIGITS = re.compile(r"[0-9]{4,12}")
_SPECIAL = re.compile(r"[A-Za-z0-9]{2,40}[!@#$%^&*+~?§][A-Za-z0-9!@#$%^&*+~?§_-]{2,60}|[A-Za-z0-9_-]{5,60}[!#$%^*]{1,4}")
_JOINED = re.compile(r"[A-Za-z]{3,12}(?:[-_.][A-Za-z]{3,12}){3,8}|[A-Za-z]{3,14}(?:[-_.][A-Za-z]{2,14}){0,4}[-_.][0-9]{2,4}")

_THREE_PARTS = re.compile(r"[A-Za-z]{3,14}[-_.][A-Za-z]{3,14}[-_.][0-9]{3,4}")
"""As generators of passwords make them. Hosts (`web-prod-01`) have less digits."""


def phrase(window: str, name: Name) -> tuple[int, int] | None:
    """The value in what follows the name, if a sentence tells it."""
    return _seed(window, name) or _said(window, name)


def looks_like_password(value: str) -> bool:
    """Made up, words joined with hyphens and a number, or with signs that no word has."""
    if values.looks_made_up(value):
        return True
    if (
        values.is_placeholder(value)
        or values.is_code(value)
        or values.is_known(value)
        or value.startswith("/")
        or "://" in value
    ):
        return False
    return _SPECIAL.fullmatch(value) is not None or _JOINED.fullmatch(value) is not None


def _seed(window: str, name: Name) -> tuple[int, int] | None:
    """Seeds of one-time passwords, in groups of four; recovery phrases."""
    called = name.text.lower()
    match = None
    if any(word in called for word in ("otp", "2fa", "mfa", "authenticator")):
        match = _SEED.match(window)
    elif "phrase" in called or "mnemonic" in called:
        match = _MNEMONIC.match(window)
    return match.span(1) if match else None


def _said(window: str, name: Name) -> tuple[int, int] | None:
    if ord(name.text[-1]) > 0x3000:
        match = _ASCII_RUN.match(window)
        value = match[1].rstrip(_CLOSE) if match else ""
        return (match.start(1), match.start(1) + len(value)) if match and _tells(value, name, quoted=True, last=True) else None
    if (not window[:1].isspace() and window[:1] not in ":=,*'\"`)—–-") or window[:1] == "=":
        return None
    previous = "is" if window[:1] != ")" else ""
    for count, match in enumerate(_WORD.finditer(window[:_REACH].partition("\n")[0])):
        word, inner = match[0], match[0].lstrip(_OPEN)
        if match.end() == _REACH and (whole := _WORD.match(window, match.start())):
            inner = whole[0].lstrip(_OPEN)
        value = inner.rstrip(_CLOSE)
        if (
            _introduces(previous)
            and value
            and _tells(value, name, quoted=_is_quoted(word, inner), last=_ends(window, match.end(), inner))
        ):
            start = match.start() + len(word) - len(word.lstrip(_OPEN))
            return start, start + len(value)
        if count > _MOST_WORDS or word[-1] in ".!?;。" or (word == "," and count == 0):
            return None
        if count == 0 or word.lower() not in _FILLERS:
            previous = word
    return None


def _introduces(word: str) -> bool:
    return word.lower().rstrip(":") in _CONNECTORS or word.endswith((":", "=", "："))


def _is_quoted(word: str, inner: str) -> bool:
    return word[0] in "\"'`«„“「" and inner.rstrip(".,;:!?)").endswith(('"', "'", "`", "»", "“", "”", "」"))


def _ends(window: str, end: int, word: str) -> bool:
    """Whether a sentence ends with that word."""
    return word.endswith((".", "!", ",", ";", ")", '"', "'", "`")) or not window[end:].split("\n")[0].strip()


def _tells(value: str, name: Name, *, quoted: bool, last: bool) -> bool:
    if "<" in value or ">" in value:
        return False
    if name.kind == Kind.CODE:
        return value.isdigit() and 4 <= len(value) <= 8
    called = name.text.lower()
    if name.kind == Kind.PASSWORD or called == "pw" or "cred" in called or "zugang" in called:
        return _tells_a_password(value, quoted=quoted, last=last)
    if name.kind == Kind.BARE:
        return values.looks_random(value) and len(value) >= 20 and any(map(str.isupper, value)) and any(map(str.islower, value))
    if called.endswith(("session", "sid", "sig", "auth", "signature", "dsn", "login", "-key", "_key")):
        return values.looks_random(value)
    return values.looks_made_up(value) and len(value) >= 10


def _tells_a_password(value: str, *, quoted: bool, last: bool) -> bool:
    if values.looks_made_up(value):
        return True
    if (last and (_DIGITS.fullmatch(value) or looks_like_password(value))) or _THREE_PARTS.fullmatch(value):
        return True
    plain = values.is_word(value) or values.is_placeholder(value) or values.is_name(value) or values.is_code(value)
    return quoted and len(value) > 3 and not plain
