"""Secrets that are known by where they stand: in an address, a header, the arguments of a command, a file of keys."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator

import re2

from crewmem_consumers import secret_values as values
from crewmem_consumers.secret_formats import ADDRESS, KEY, PRIVATE_KEY, PRIVATE_KEY_END
from crewmem_consumers.secret_phrases import looks_like_password

Find = tuple[int, int, str]
"""Start, end and label of a secret."""

_KEY_LINE = re2.compile(r"[A-Za-z0-9+/=]{16}|Private-Lines")
URL = re2.compile(r"""(?i)\b[a-z][a-z0-9+.-]{1,24}://[^\s/:@?#"'<>\[\]]*:([^\s"'<>`]+)""")
"""Group 1 begins with the password, if there is one: it ends at the last `@`."""
_HOST = re2.compile(r"@(?:\[[0-9a-fA-F:.]{2,60}\]|[A-Za-z0-9_$%{][A-Za-z0-9._${}-]*|\()")
PARAMETER = re2.compile(
    r"""(?i)[?&;](?:api_?key|apikey|key|token|access_?token|id_?token|refresh_?token|auth|auth_?token|sig|signature"""
    r"""|password|passwd|pwd|pass|secret|"""
    r"""client_?secret|code|x-amz-(?:signature|security-token|credential)|x-goog-signature|session|sid|jwt|assertion|st"""
    r"""|hmac)=([^\s&#"'<>)`]{6,})"""
)
HEADER = re2.compile(
    r"""(?i)\b(?:(?:proxy-)?authorization["']?\s{0,3}[:=]\s{0,3}\\?["']?(?:(?:bearer|basic|token|digest|apikey|api-key"""
    r"""|key|ssws|bot|splunk|negotiate|genie ?key|oauth"""
    r"""|aws4-hmac-sha256)[ =:]{1,3})?(?:token=)?\\?["']?([A-Za-z0-9._~+/=:%|-]{8,})"""
    r"""|(?:bearer|basic)\s{1,4}([A-Za-z0-9._~+/=|-]{16,})|(?:token|apikey|ssws)\s{1,4}([A-Za-z0-9._~+/=-]{24,}))"""
)
COOKIE = re2.compile(r"""(?i)\b(?:set-)?cookie["']?\s{0,3}[:=]\s{0,3}["']?([^\n"']{6,})""")
_COOKIE_VALUE = re2.compile(
    r"""(?i)([a-z0-9_.-]{0,40}(?:sess|sid|token|auth|jwt|login|remember|secret|csrf|id)[a-z0-9_.-]{0,40})=([^\s;,"']{8,})"""
)
COMMAND = re2.compile(
    r"""(?i)\b(?:"""
    r"""curl\b[^\n|;]*?\s(?:-u|--user|--proxy-user)[ =]{0,3}["']?[^\s:"']{1,100}:([^\s"']{3,})"""
    r"""|(?:mysql|mysqldump|mysqladmin|mysqlimport|mysqlsh|mariadb|mariadb-dump"""
    r"""|mydumper)\b[^\n|;]*?\s(?-i:-p)["']?([^\s"'<>|;]{3,})"""
    r"""|sshpass\s{1,4}-p\s{0,3}["']?([^\s"']{3,})"""
    r"""|redis-cli\b[^\n|;]*?\s(?:-a|--pass)[ =]{1,3}["']?([^\s"'|;]{3,})"""
    r"""|(?:mongo|mongosh|mongodump|mongorestore|docker\s{1,3}login|podman\s{1,3}login|helm\s{1,3}registry\s{1,3}login"""
    r"""|az\s{1,3}login|oc\s{1,3}login|kinit|influx|clickhouse-client|mosquitto_pub|mosquitto_sub|cqlsh"""
    r"""|expect)\b[^\n|;]*?\s(?:-p|-P|-pw|--pw)[ =]{1,3}["']?([^\s"'|;]{3,})"""
    r"""|(?:ldapsearch|ldapadd|ldapmodify|ldapwhoami|ldappasswd)\b[^\n|;]*?\s(?-i:-w)\s{0,3}["']?([^\s"'|;]{3,})"""
    r"""|(?:smbclient|rpcclient|mount\.cifs|net\s{1,3}rpc"""
    r"""|crackmapexec)\b[^\n|;]*?\s(?-i:-U)\s{0,3}["']?[^\s%"']{1,100}%([^\s"'|;]{3,})"""
    r"""|(?:sqlcmd|bcp|osql|isql)\b[^\n|;]*?\s(?-i:-P)\s{0,3}["']?([^\s"'|;]{3,})"""
    r"""|(?:zip|unzip)\b[^\n|;]*?\s(?-i:-P)\s{0,3}["']?([^\s"'|;]{3,})|(?:7z|7za|rar|unrar)\b[^\n|;]*?\s(?-i:-(?:p"""
    r"""|hp))["']?([^\s"'|;]{3,})"""
    r"""|(?:plink|pscp|psftp)\b[^\n|;]*?\s-pw\s{1,3}["']?([^\s"'|;]{3,})"""
    r"""|htpasswd(?:\s{1,4}-[a-zA-Z]{1,8}){0,3}\s{1,4}-[a-zA-Z]{0,6}b[a-zA-Z]{0,6}(?:\s{1,4}-[a-zA-Z]{1,8}){0,3}\s{1,4}\S+\s{1,4}\S{1,100}\s{1,4}["']?([^\s"'|;]{3,})"""
    r"""|(?:wget|http|https|xh)\s[^\n|;]*?\s(?:-a|--auth)[ =]{1,3}["']?[^\s:"']{1,100}:([^\s"']{3,})"""
    r"""|(?:-passin|-passout|-pass)\s{1,3}["']?pass:([^\s"']{3,})"""
    r"""|openssl\s{1,3}enc\b[^\n|;]*?\s-k\s{1,3}["']?([^\s"']{3,})"""
    r"""|net\s{1,3}use\b[^\n|;]*?\s/user:\S{1,100}\s{1,3}["']?([^\s"']{3,})"""
    r"""|echo\s{1,3}(?:-n\s{1,3})?["']?(?:[a-z_][a-z0-9_-]{0,31}:)?([^\s"'|:]{3,})["']?\s{0,3}\|\s{0,3}(?:sudo\s{1,3}(?:-S|chpasswd)|chpasswd|passwd\s{1,3}--stdin|docker\s{1,3}login|gh\s{1,3}auth|vault\s{1,3}login)"""
    r"""|wandb\s{1,3}login\s{1,3}(?:--relogin\s{1,3})?([0-9a-f]{40})"""
    r"""|(?:vault\s{1,3}login|npm\s{1,3}login|doctl\s{1,3}auth\s{1,3}init\s{1,3}-t"""
    r"""|railway\s{1,3}login)\s{1,3}(?:token=)?([A-Za-z0-9._-]{16,})"""
    r"""|rabbitmqctl\s{1,3}(?:add_user|change_password)\s{1,3}\S{1,100}\s{1,3}["']?([^\s"']{3,})"""
    r"""|(?:net\s{1,3}user|dsmod\s{1,3}user)\s{1,3}[^\s/]{1,100}\s{1,3}["']?([^\s"'/]{4,})"""
    r"""|AUTH\s{1,3}(?:default\s{1,3})?["']?([A-Za-z0-9][^\s"']{7,})["']?\s{0,3}(?:$|\n)"""
    r""")"""
)
FILE = re2.compile(
    r"""(?m)(?:"""
    r"""^[a-zA-Z0-9_.*-]{1,100}:(?:[0-9]{2,5}|\*):[a-zA-Z0-9_*-]{1,64}:[a-zA-Z0-9_*.@-]{1,64}:([^\s:]{3,})$"""  # .pgpass
    r"""|"auth"\s{0,3}:\s{0,3}"([A-Za-z0-9+/]{12,}={0,2})\""""  # docker's config.json
    r"""|:_auth\s{0,3}=\s{0,3}"?([A-Za-z0-9+/]{12,}={0,2})|:_authToken\s{0,3}=\s{0,3}"?([^\s"]{8,})"""
    r"""|:_password\s{0,3}=\s{0,3}"?([A-Za-z0-9+/=]{6,})"""  # .npmrc
    r"""|(?i:privatekey|presharedkey)\s{0,3}=\s{0,3}([A-Za-z0-9+/]{42,43}=)"""  # WireGuard
    r"""|\$(?:2[abxy]|5|6|7|y|argon2id?|argon2i|scrypt"""
    r"""|apr1)\$([A-Za-z0-9./$=,+_-]{20,})"""  # a hashed password, which can be guessed
    r"""|\b(?:[0-9a-f]{32})(?:@(?:[a-z0-9]{1,20}\.){0,3}(?:ingest\.)?(?:[a-z]{2}\.)?sentry\.io)"""
    r""")"""
)
PAIR = re2.compile(
    r"""(?:\bauth\s{0,3}=\s{0,3}\(|\bHTTP(?:Basic|Digest)Auth\(|\bBasicAuth\(|\bSetBasicAuth\()\s{0,3}["'][^"'\n]{1,100}["'],\s{0,3}["']([^"'\n]{3,200})["']"""
    r"""|\bConvertTo-SecureString\s{1,4}(?:-String\s{1,4})?["']([^"'\n]{3,200})["']"""
)
"""`auth=("user", "...")`: what is in quotes there is a password, or says that it stands for one."""
CALL = re2.compile(
    r"""\b[A-Za-z_.]*(?:Client|Api|API|Bot|[Aa]uth|[Kk]ey|[Tt]oken|[Ll]ogin)\(\s{0,3}["']([A-Za-z0-9+/_-]{24,}={0,2})["']"""
)
"""`cohere.Client("...")`: the key is the first argument."""
ORACLE = re2.compile(r"(?i)jdbc:oracle:[a-z]{2,5}:[a-z0-9_$]{1,40}/([^\s@/\"']{3,})@")
SENTRY = re2.compile(r"://([0-9a-f]{32})(?::[0-9a-f]{32})?@[a-z0-9.-]{1,80}/[0-9]{1,20}\b")


def find(text: str) -> Iterator[Find]:
    """Each of them; some may overlap."""
    yield from _private_keys(text)
    yield from _formats(text)
    yield from _urls(text)
    yield from _cookies(text)
    for pattern, label in (
        (ADDRESS, "token"),
        (HEADER, "token"),
        (COMMAND, "password"),
        (FILE, "password"),
        (PAIR, "password"),
        (SENTRY, "token"),
        (CALL, "api key"),
        (ORACLE, "password"),
    ):
        for match in pattern.finditer(text):
            for start, end in map(match.span, range(1, pattern.groups + 1)):
                if start >= 0 and not values.is_placeholder(text[start:end]) and _is_value(pattern, text[start:end]):
                    yield start, end, label
    for match in PARAMETER.finditer(text):
        if _is_parameter(match[0].lower(), match[1]):
            yield *match.span(1), "token"


def _is_value(pattern: object, value: str) -> bool:
    if pattern is HEADER:
        return (
            any(map(str.isdigit, value))
            or (value.rstrip("=") != value and not value.islower())
            or (len(value) > 19 and not value.isalpha())
        )
    if pattern is PAIR:
        return looks_like_password(value)
    if pattern is CALL:
        return values.looks_random(value)
    if pattern is COMMAND:
        return not values.is_word(value) and (values.looks_made_up(value) or not value.startswith(("$", "-", "%", "{", "<")))
    return True


def _formats(text: str) -> Iterator[Find]:
    for match in KEY.finditer(text):
        group = 1 if match.start(1) >= 0 else 2
        value = match[group]
        if values.is_filler(value):
            continue
        start, end = match.span(group)
        yield start, end, "api key" if group == 1 else "token"


def _private_keys(text: str) -> Iterator[Find]:
    """Each with all of its lines. Without an end (a splitter cut it) it goes on to the end of the text. Where nothing follows
    that could be a key, a text only speaks of one."""
    place, ends = 0, None
    for match in PRIVATE_KEY.finditer(text):
        if match.start() < place or not _KEY_LINE.search(text[match.end() : match.end() + 200]):
            continue
        if ends is None:
            ends = [end.span() for end in PRIVATE_KEY_END.finditer(text)]
        following = bisect(ends, (match.end(), 0))
        place = ends[following][1] if following < len(ends) else len(text)
        yield match.start(), place, "private key"


def _urls(text: str) -> Iterator[Find]:
    for match in URL.finditer(text):
        rest = match[1]
        at = _last_at(rest)
        if at > 0 and not _is_port(rest[:at]) and not _stands_for_one(rest[:at]):
            yield match.start(1), match.start(1) + at, "password"


def _last_at(rest: str) -> int:
    """Where the password ends: a password may hold `@` and `/`, and so may what comes after the host."""
    ends = [match.start() for match in _HOST.finditer(rest)]
    first = ends[0] if ends else -1
    for at in ends[1:]:
        if not any(sign in rest[first:at] for sign in "?&,;"):
            first = at
    return first


def _is_port(password: str) -> bool:
    """`https://host:8080/@scope`."""
    digits = password.partition("/")[0].partition("?")[0]
    return digits != password and digits.isdigit() and len(digits) < 6


def _stands_for_one(password: str) -> bool:
    return values.is_placeholder(password) or password.casefold() in (
        "password",
        "pass",
        "passwd",
        "pwd",
        "secret",
        "token",
        "pw",
        "key",
    )


def _is_parameter(match: str, value: str) -> bool:
    if values.is_placeholder(value):
        return False
    name = match[1:].partition("=")[0]
    if name in ("password", "passwd", "pwd", "pass", "secret", "client_secret", "api_key", "apikey"):
        return not values.is_word(value)
    if name in ("key", "code", "session", "sid", "st", "token", "auth", "sig", "signature"):
        return values.looks_random(value.replace("%", "")) or (
            name not in ("key", "code", "session") and values.looks_made_up(value)
        )
    return values.looks_made_up(value) or len(value) > 15


def _cookies(text: str) -> Iterator[Find]:
    for match in COOKIE.finditer(text):
        for part in _COOKIE_VALUE.finditer(match[1]):
            if not values.is_placeholder(part[2]) and any(map(str.isdigit, part[2])) and len(part[2]) > 9:
                yield match.start(1) + part.start(2), match.start(1) + part.end(2), "token"
