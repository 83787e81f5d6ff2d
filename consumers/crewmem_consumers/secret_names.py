"""Names of secrets: `DB_PASSWORD`, `"apiKey"`, `Passwort`, `密码`. What a name says of the value that stands after it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import re2

from crewmem_consumers.secret_formats import LARGE

_BEFORE = 48
"""Characters before a name that belong to it."""


class Kind(IntEnum):
    """What a name says of its value. A PASSWORD may be anything, a KEY is made by a program; after a WEAK name (`token`,
    `secret`) or a BARE one (`key`) the value itself must look like a secret; a CODE has digits."""

    PASSWORD = 1
    KEY = 2
    WEAK = 3
    BARE = 4
    CODE = 5


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a text: `DB_PASSWORD_PROD` where only `PASSWORD` told that it is one. `end` is where what follows it begins;
    `before` is what stands before it, at most 48 characters, the first part of the name included."""

    kind: Kind
    text: str
    start: int
    end: int
    before: str


_PASSWORD = (
    r"pass[_ -]?words?|passwds?|pass[_-]?phrases?|pass[_-]?codes?|passwort|passwörter|kennwort|kennwörter|losungswort|pwd"
    r"|psw|pswd|(?:db|user|root|admin|mysql|pg|smtp|mail|become)_?pass(?:wor[dt])?|"
    r"storepass|keypass|requirepass|masterauth|contraseñas?|contrasenas?|palabra clave|mots? de passe|motdepasse|senhas?"
    r"|palavra-passe|"
    r"wachtwoord(?:en)?|toegangscode|lösenord(?:et)?|passord(?:et)?|adgangskode[nr]?|kodeord(?:et)?|hasło|hasła|hasłem|heslo|"
    r"salasana|jelszó|jelszava|parol[aă]|şifre(?:si|niz|m)?|парол[а-яіь]{0,3}|κωδικός|סיסמ[האת]|كلمة المرور|كلمة السر"
    r"|पासवर्ड|รหัสผ่าน|mật khẩu|kata sandi|"
    r"密码|密碼|口令|暗号|パスワード|暗証番号|비밀번호|암호|"
    r"seed phrase|recovery phrase|mnemonic(?: phrase)?|encrypted_?password"
)
_KEY = (
    r"(?:api|app|application|access|secret|master|account|shared|signing|encryption|encrypt|private|auth|authorization"
    r"|service|admin|subscription|license|licence|"
    r"deploy|storage|consumer|primary_access|functions?|host|webhook|client|root|root_?token|registration|integration"
    r"|routing|ingest|ingestion|write|hmac|jwt|aes|session|server|user|ssh|tls|gpg)"
    r"[_ .-]?(?:access[_ -]?)?(?:api[_ -]?)?(?:key(?:[_-]?(?:base|value|data))?|secret(?:[_ -]?(?:access[_ -]?)?(?:key"
    r"|value|token))?)|"
    r"apikeys?|x-api-key|(?:api|access|refresh|auth|authentication|authorization|bearer|bot|personal[_ -]access|personal"
    r"|deploy|security|session|service|csrf|xsrf|id|user|admin|app|push|device|registry|"
    r"vault|secret|oauth|jwt|root|runner|registration|webhook|verification|login|zugangs|zugriffs|integration|join|agent"
    r"|cli|ci|robot|gh|hf|slack|discord|telegram|hec|upload|publish)[_ -]?token(?:[_-]?(?:value|secret))?|"
    r"[a-z0-9]_(?:secret|token|apikey)|key-data|accountkey|sharedaccesskey(?:value)?|sharedsecret|secretkey"
    r"|secretaccesskey|accesskey(?:id)?|access[_ -]?key[_ -]?id|privatekey|presharedkey|psk|"
    r"connection[_ -]?string|totp(?:[_ -]?(?:secret|seed))?|otp[_ -]?(?:secret|seed)|(?:2fa|mfa"
    r"|authenticator)[_ -]?(?:secret|seed|key|setup key)(?:[_ -]?key)?|"
    r"api[- ]?schlüssel|zugangsschlüssel|geheimer schlüssel|zugriffsschlüssel|geheimschlüssel|cl[ée] (?:d['’]api|api"
    r"|secr[èe]te|d['’]acc[èe]s)|clave (?:de )?(?:la )?(?:api|secreta|de acceso)|chave (?:de |da )?(?:api|secreta"
    r"|de acesso)|"
    r"chiave (?:api|segreta|di accesso)|api[- ]?sleutel|geheime sleutel|api[- ]?nyckel|klucz api|api[- ]?nøgle"
    r"|api[- ]?ключ[а-я]{0,3}|ключ[а-я]{0,3} (?:api|доступа)|секретн[а-я]{2,3} ключ[а-я]{0,3}|токен[а-я]{0,3}|"
    r"api ?密钥|api ?密鑰|api ?金鑰|密钥|密鑰|金鑰|访问令牌|令牌|api ?キー|シークレットキー|"
    r"アクセスキー|シークレット|アクセストークン|トークン|api ?키|토큰|비밀 ?키"
)
_WEAK = (
    r"secrets?|tokens?|credentials?|creds|cookies?|pass|pw|mdp|auth|[_-]key|_authtoken|_auth|sess(?:ion)?id|session_?id|session|sid|"
    r"clave|chave|zugangsdaten|geheimnis|jeton|segreto|signature|sig|dsn|login|identified by"
)
_BARE = r"keys?|schlüssel"
_CODE = (
    r"pin|pin[- ]?codes?|(?:verification|security|one-time|access|backup|recovery|2fa|mfa|otp|login|door|gate|entry|alarm"
    r"|safe|unlock) codes?|otp|cvv|cvc|"
    r"sicherheitscode|zugangscode|türcode|code d['’]accès|código de (?:acceso|verificación|seguridad)|código de acesso"
    r"|codice di (?:accesso|verifica)|код доступа|验证码|暗証番号"
)
_PATTERNS = (
    (Kind.PASSWORD, _PASSWORD),
    (Kind.KEY, _KEY),
    (Kind.CODE, rf"\b(?:{_CODE})\b"),
    (Kind.WEAK, _WEAK),
    (Kind.BARE, _BARE),
)
NAME = re2.compile("(?i)" + "|".join(f"(?:{pattern})" for _, pattern in _PATTERNS), LARGE)
"""Without groups: with them RE2 takes ten times as long for each match."""
KINDS = tuple((kind, re2.compile(f"(?i)(?:{pattern})", LARGE)) for kind, pattern in _PATTERNS)
"""Which kind a name is: the first that it matches as a whole."""

_NOT_THE_SECRET = re.compile(
    r"[_-]?(?:s?[_-]?(?:len|length|min|max|count|policy|policies|hash(?:es|ed|er|ing)?|reset|expir[a-z]{0,6}|age|days"
    r"|hours|minutes|seconds|secs|ms|ttl|field|input|label|url|uri|link|path|file|filename|dir|name|names|"
    r"id|ids|type|types|required|enabled|changed|updated|created|rotated|attempts|strength|rules?|manager|hint|prompt"
    r"|page|form|column|env|var|variable|version|format|prefix|suffix|limit|limits|rotation|lifetime|timeout|provider|"
    r"encoder|regex|pattern|validator|validation|validators|placeholder|error|message|usage|used|ized?|izer|izers|ization"
    r"|izing|isation|ise|budget|store|source|ref|reference|scope|scopes|status|state|size|bytes|bits|"
    r"algorithm|alg|method|endpoint|template|title|description|help|text|at|on|by|word|words|less|board|note|frame|pair"
    r"|ring|space|vault|server|service|class|model|schema|count|per|cost|price|rate|window|stream|"
    r"mask|index|offset|map|list|set|group|mode|kind|value_from|from|func|function|handler|helper|utils?|generator"
    r"|factory|cache|config|settings|options|params|test|tests|exists|match|matches|valid|check|_?arn|stdin|fingerprint"
    r"|checksum|digest|date|time))(?![a-z])",
    re.IGNORECASE,
)
"""After a name: something about the secret, not itself. `password_min_length`, `token_type`, `secretName`."""
_NOT_OF_A_SECRET = re.compile(
    r"(?:^|[_-]|(?<=[a-z])(?=[A-Z]))(?:next|page|continuation|cursor|pagination|sync|pad|eos|bos|unk|stop|special|start"
    r"|end|mask|cls|sep|total|max|min|num|n|input|output|prompt|completion|cached|cache|per|primary|foreign|sort|"
    r"partition|public|pub|object|record|idempotency|lookup|group|row|hash|index|unique|composite|i18n|translation|crew"
    r"|task|event|data|shard|routing|dedup|message|kafka|dict|map|config|feature|issue|project|ssh_pub|config|is|has|"
    r"no|use|with|without|show|hide|forgot|forgotten|reset|change|hashed|last|digest|trace|site|is_|product|host"
    r"|known_hosts?|sub|registry|etag|ci_commit|content)[_-]?\Z",
    re.IGNORECASE,
)
"""Before a weak name: what kind of token or key it is, and no secret."""
_REDACTED = re.compile(r"\[redacted: [a-z -]{0,20}\Z")
_WORD_BEFORE = re.compile(r"[\w.-]{1,48}\Z")
_REST = re.compile(r"[\w-]{0,40}+")
_PLURAL = frozenset({"s", "en", "n", "es"})


def names(text: str) -> Iterator[Name]:
    """Every name of a secret in the text, in order."""
    for match in NAME.finditer(text):
        if found := _at(text, match.start(), match.end(), _kind_of(match[0].lower())):
            yield found


def names_a_secret(field: str) -> bool:
    """Whether what stands under a field of that name is a secret, whatever it looks like."""
    return any(name.kind in (Kind.PASSWORD, Kind.KEY) for name in names(field))


@lru_cache(maxsize=4096)
def _kind_of(name: str) -> Kind:
    return next((kind for kind, pattern in KINDS if pattern.fullmatch(name)), Kind.BARE)


def _at(text: str, start: int, end: int, kind: Kind) -> Name | None:
    before = text[max(0, start - _BEFORE) : start]
    if _REDACTED.search(before):
        return None
    found = _WORD_BEFORE.search(before) if before[-1:] != "." else None
    prefix = found[0] if found else ""
    word, rest = text[start:end], _rest(text, end)
    if not _is_of_a_secret(kind, prefix, word, rest):
        return None
    return Name(kind, prefix + word + rest, start, end + len(rest), before)


def _rest(text: str, end: int) -> str:
    """What of the name comes after what made it one: `_PROD` of `PASSWORD_PROD`. A script without spaces has none."""
    if ord(text[end - 1]) > 0x3000:
        return ""
    match = _REST.match(text, end)
    return match[0].rstrip("-") if match else ""


def _is_of_a_secret(kind: Kind, prefix: str, word: str, rest: str) -> bool:
    if _NOT_THE_SECRET.match(rest):
        return False
    if kind == Kind.PASSWORD:
        return prefix not in ("1", "ht", ".ht")
    if rest and rest[0].isalpha() and rest[0].islower() and rest not in _PLURAL:
        return False  # `tokenizer`, `keyboard`, `secretary`
    if kind == Kind.KEY:
        return word[1:2] != "_" or not _NOT_OF_A_SECRET.search((prefix + word).rpartition("_")[0])
    if prefix and prefix[-1].isalpha() and word[0] not in "_-" and not (word[0].isupper() and prefix[-1].islower()):
        return False  # `monkey`, `compass`
    return not _NOT_OF_A_SECRET.search(prefix)
