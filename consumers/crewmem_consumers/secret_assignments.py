"""Secrets that are known by what they are called: `DB_PASSWORD=...`, `"apiKey": "..."`, `das Passwort lautet ...`.

What follows a name is looked at within WINDOW characters, so the work grows with the number of names alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from crewmem_consumers import secret_values as values
from crewmem_consumers.secret_names import Kind, Name, names
from crewmem_consumers.secret_phrases import looks_like_password, phrase

WINDOW = 420
"""Characters after a name in which its value is looked for."""
_ROWS = 2_000
"""Characters of a table below a heading that are looked at."""

Find = tuple[int, int, str]
"""Start, end and label of a secret."""
_Span = tuple[int, int]

_TYPE = r"(?:Optional\[str\]|SecretStr|string|String|str|&str|bytes|Secret|text|char\[\]|const char\s?\*)"
_SIGN = re.compile(
    r"""\\{0,3}["'`\]})*_]{0,4}(?:"""
    r"""(?:[ \t]{0,40}\([^()\n]{1,40}\))?"""
    rf"""(?:[ \t]{{0,40}}:[ \t]{{0,4}}{_TYPE}(?:[ \t]{{0,4}}\|[ \t]{{0,4}}None)?(?=[ \t]{{0,4}}=))?"""
    r"""[ \t]{0,40}(?:=>|:=|={1,3}|:{1,2}|：|＝|->|→|⇒)[*_]{0,2}(?:[ \t]{0,40}\r?\n)?[ \t]{0,40}"""
    r"""|\s{1,40}value["']?[ \t]{0,3}[=:][ \t]{0,4}(?=["'\w])"""  # <add key="ApiKey" value="..."/>, and Kubernetes' env
    r""")"""
)
"""Between a name and its value. A value may stand on the next line."""
_ARGUMENT = re.compile(r"""["'],[ \t]{0,4}(?=["'])""")
"""`define('DB_PASSWORD', '...')`."""
_QUOTED = re.compile(
    r"""(?:[rbuRBU]{1,2}(?=["']))?(\\{0,3})(?:"((?:[^"\\\n]|\\(?!")[^\n]){1,400}+)\\{0,3}"|'((?:[^'\\\n]"""
    r"""|\\[^\n]){1,400}+)'|`([^`\n]{1,400}+)`"""
    r"""|“([^”\n]{1,200}+)”|„([^“”\n]{1,200}+)[“”]|«\s?([^»\n]{1,200}+)»|「([^」\n]{1,200}+)」)"""
)
_BARE = re.compile(r"""[^\s"'`“”„«»「」。，、]{3,420}+""")
_TAIL = re.compile(r"""[^\s"'`]*+""")
_END = re.compile(
    r"[;&,|](?=[A-Za-z_ .-]{1,40}[=:])|[<;，。]|\\[nrt\"]|&(?:amp|quot|lt|gt);|\)(?=[;,.)\s]|$)|[}\]](?=[;,}\]\s]|$)|,$"
)
"""Where a value without quotes ends, beside white space."""
_MARKUP = re.compile(r"(?:\s[^<>\n]{1,60})?>\s{0,20}(?:<!\[CDATA\[)?([^<\]\n]{3,200})(?:\]\]>)?\s{0,20}</")
_CELL = re.compile(r"[ \t*`_]{0,40}\|[ \t]{0,40}[*`_\"]{0,2}([^|\s`\"]{4,200}?)[*`_\"]{0,2}[ \t]{0,80}(?:\||$|\n)")
_RULE = re.compile(r"[ \t]{0,4}\|?[ \t]{0,20}:?-{2,200}+[-:| \t]{0,400}\n")
_OPTION = re.compile(r"(?:=|[ \t]{1,20})(?![-<\[|&;])")
_DEFAULT = re.compile(r"""["'][ \t]{0,4}\{[^{}]{0,200}?\bdefault\s{0,20}=\s{0,20}(?=")""")
"""`variable "db_password" { default = "..." }` of Terraform."""
_LOGIN = re.compile(r"\blogin\s{1,8}\S{1,30}\s{1,8}\Z")
_LENGTH = re.compile(
    r"[0-9]{1,3}(?:[+-]|\s?-\s?[0-9]{1,3})?\s(?:characters?|chars|digits?|letters?|days?|hours?|minutes?|times?|attempts?"
    r"|words?|or|and|to)\b|[0-9]{1,3}[dhms]?\Z"
)
_SPECIAL = re.compile(r"[!@#$%^&*+~?§]")


def find(text: str) -> Iterator[Find]:
    """Each value that stands after a name, where it is a secret. A name within the value before it is part of that value."""
    last = 0
    for name in names(text):
        if name.start < last:
            continue
        label = "api key" if name.kind == Kind.KEY else "password"
        for start, end in _values(text, name):
            last = max(last, _whole(text, name, end))
            yield start, last, label


def _whole(text: str, name: Name, end: int) -> int:
    """Where a value ends that is longer than what was looked at."""
    tail = _TAIL.match(text, end) if end >= name.end + WINDOW - 4 else None
    return tail.end() if tail else end


def _values(text: str, name: Name) -> Iterator[_Span]:
    window = text[name.end : name.end + WINDOW]
    for look in (phrase, _assigned, _marked_up, _option):
        if span := look(window, name):
            yield name.end + span[0], name.end + span[1]
            return
    yield from _column(text, name)


def _assigned(window: str, name: Name) -> _Span | None:
    sign = _SIGN.match(window)
    if sign is None:
        return _argument(window, name)
    if quoted := _QUOTED.match(window, sign.end()):
        start, value = _inside(quoted)
        return (start, start + len(value)) if _is_quoted_secret(value, name) else None
    cut = window[sign.end() : sign.end() + 1] in tuple("\"'`") and window.find(window[sign.end()], sign.end() + 1) < 0
    bare = _BARE.match(window, sign.end() + cut)
    return None if bare is None else _bare(window, bare.start(), bare[0], name, sign[0])


def _argument(window: str, name: Name) -> _Span | None:
    comma = (_ARGUMENT.match(window) or _DEFAULT.match(window)) if name.kind in (Kind.PASSWORD, Kind.KEY) else None
    quoted = _QUOTED.match(window, comma.end()) if comma else None
    if quoted is None:
        return None
    start, value = _inside(quoted)
    return (start, start + len(value)) if looks_like_password(value) else None


def _inside(quoted: re.Match[str]) -> tuple[int, str]:
    group = next(number for number in range(2, 9) if quoted.start(number) >= 0)
    return quoted.start(group), quoted[group].rstrip("\\")


def _bare(window: str, start: int, value: str, name: Name, sign: str) -> _Span | None:
    if value.startswith("<") or values.is_code(value) or values.is_placeholder(value):
        return None
    if (cut := _END.search(value)) and cut.start() >= 3:
        value = value[: cut.start()]
    shorter = value.lstrip("*_(")
    start, value = start + len(value) - len(shorter), shorter.rstrip(".,:;?*_|)]}>")
    if len(value) < 3 or values.is_code(value) or values.is_placeholder(value) or values.is_word(value):
        return None
    after = window[start + len(value) : start + len(value) + 40]
    return (start, start + len(value)) if _is_bare_secret(value, name, sign, after) else None


def _is_quoted_secret(value: str, name: Name) -> bool:
    if len(value) < 3 or values.is_placeholder(value) or values.is_sentence(value) or values.is_word(value):
        return False
    if name.kind not in (Kind.PASSWORD, Kind.KEY):
        return _by_looks(value, name)
    return not (values.is_name(value) and _speaks_of_secrets(value)) and not values.is_path(value)


def _is_bare_secret(value: str, name: Name, sign: str, after: str) -> bool:
    if name.kind not in (Kind.PASSWORD, Kind.KEY):
        return _by_looks(value, name)
    if _LENGTH.match(value + after) or ("://" in value[:12] and "string" not in name.text.lower()):
        return False
    if _is_env(name, sign):
        return True
    if values.is_name(value) and (_speaks_of_secrets(value) or sign[-1:].isspace() or after[:1] in (")", ",")):
        return False
    plain = value.replace("-", "").replace("'", "").replace("’", "").isalpha()
    if name.kind == Kind.KEY:
        return _is_bare_key(value, plain)
    return not (
        plain and ":" in sign and after[:1] in (" ", "\t") and after.strip()[:1].isalpha()
    )  # the beginning of a sentence


def _is_bare_key(value: str, plain: bool) -> bool:
    if plain:
        return len(value) > 15 and not value.islower()
    if value.startswith(("/", "./", "~/")) and "." in value:
        return False
    if value.isdigit():
        return len(value) > 9
    return values.looks_made_up(value) or _SPECIAL.search(value) is not None or len(value) > 19


def _is_env(name: Name, sign: str) -> bool:
    """`DB_PASSWORD=...`, as in a shell or an .env file."""
    return sign == "=" and name.text.isupper()


def _speaks_of_secrets(value: str) -> bool:
    lowered = value.lower()
    return any(
        word in lowered
        for word in ("pass", "pwd", "secret", "token", "key", "cred", "auth", "input", "value", "field", "user", "env")
    )


def _by_looks(value: str, name: Name) -> bool:
    """Whether the value itself looks like a secret, where the name alone says too little."""
    called = name.text.lower()
    if name.kind == Kind.CODE:
        return value.isdigit() and 4 <= len(value) <= 8
    if ":" in value and ("cred" in called or "login" in called):
        return looks_like_password(value.partition(":")[2])
    if called.endswith(("pass", "pw", "pwd", "mdp", "clave", "chave")):
        return looks_like_password(value)
    if name.kind == Kind.BARE or called.endswith(
        ("session", "sessionid", "session_id", "sid", "sig", "auth", "signature", "dsn", "login")
    ):
        return values.looks_random(value)
    if called.endswith(("-key", "_key", "keys")):
        return values.looks_random(value) or (name.text.isupper() and values.looks_made_up(value) and len(value) >= 12)
    return values.looks_made_up(value)


def _marked_up(window: str, name: Name) -> _Span | None:
    """`<password>...</password>`, `| password | ... |`."""
    if name.kind not in (Kind.PASSWORD, Kind.KEY):
        return None
    if (match := _MARKUP.match(window)) and _is_quoted_secret(match[1], name):
        return match.span(1)
    if (match := _CELL.match(window)) and looks_like_password(match[1]):
        return match.span(1)
    return None


def _option(window: str, name: Name) -> _Span | None:
    """`--password ...`, `login ... password ...` of .netrc, `WITH PASSWORD '...'` of SQL, `ENV DB_PASSWORD ...`."""
    match = _OPTION.match(window)
    if match is None or name.kind in (Kind.BARE, Kind.CODE):
        return None
    quoted = _QUOTED.match(window, match.end())
    sql = name.text.lower() in ("password", "identified by") and quoted is not None and quoted[3] is not None
    if not sql and not _takes_a_value(name):
        return None
    bare = _BARE.match(window, match.end())
    start, value = _inside(quoted) if quoted else (bare.start(), bare[0].rstrip(";,)")) if bare else (0, "")
    if len(value) < 3 or values.is_placeholder(value) or values.is_word(value) or (not quoted and values.is_code(value)):
        return None
    return (start, start + len(value)) if sql or name.kind != Kind.WEAK or values.looks_made_up(value) else None


def _takes_a_value(name: Name) -> bool:
    if name.text.startswith(("--", "-pass")) or (name.text.lower() == "password" and _LOGIN.search(name.before)):
        return True
    before = name.before[: len(name.before) - name.text.upper().find("PASS")] if name.text.isupper() else ""
    return name.text.isupper() and "ENV " in (before or name.before)


def _column(text: str, name: Name) -> Iterator[_Span]:
    """The cells below a heading of a table: `| user | password |`."""
    heading = text[max(0, name.start - 200) : name.start].rpartition("\n")[2]
    if "|" not in heading or name.kind not in (Kind.PASSWORD, Kind.KEY):
        return
    line = text.find("\n", name.end, name.end + 300) + 1
    rule = _RULE.match(text, line) if line else None
    if rule is None:
        return
    place = rule.end()
    for row in text[place : place + _ROWS].splitlines(keepends=True):
        cells = row.split("|")
        if len(cells) <= heading.count("|"):
            return
        before, cell = "|".join(cells[: heading.count("|")]), cells[heading.count("|")]
        value = cell.strip().strip('*`"')
        if looks_like_password(value):
            start = place + len(before) + 1 + cell.index(value)
            yield start, start + len(value)
        place += len(row)
