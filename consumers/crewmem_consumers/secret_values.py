"""Is a value a secret? What stands after a name such as `password` may also be code, a placeholder, a type or plain words.

Values are cut to MOST_CHARACTERS before they are looked at.
"""

from __future__ import annotations

import re

import re2

MOST_CHARACTERS = 200
"""Of a value at most so many are looked at."""

_WORDS = """
a all allowed already also always an and any are as auth auto automatic available be been both but by can cannot changed
changeme change check complex correct could created day days default defaults deleted denied described disabled does
each either empty enabled encrypted enter entered error every example exists expected expired expires expiry failed
false field file for forgot found free from generate generated get given good granted guide hash hashed has hidden how
if ignored in incorrect input integer invalid is it its keep left length less letters like limit list login lost manager
managed management many masked may method missing must my name needed never new next no none not nothing null number
object off ok old omitted on once only open optional or our out own page per pending please policy private present
protected provided public random read redacted refresh required reset revoked rotate rotated rotation rules same sample
saved secure see send sent set shared should shown so some soon stored str string strong success tba tbd test text that
the their then there these they this to todo too true type unavailable undefined unchanged unique unknown unset unused
update updated use used user username using valid value values via void wait was weak what when where which will with
without wrong yes you your bool boolean bytes char int float number password passwords passwd pwd secret secrets token
tokens key keys credential credentials bearer basic oauth jwt saml ldap kerberos sso mfa totp tls ssl ssh vault keychain
keyring env environment keyword erforderlich ungültig falsch vergessen ändern zurücksetzen notwendig optional requis
requise oublié invalide incorrecta obligatorio obligatoria olvidada requerida incorrecto obrigatória obrigatório
inválida incorreta richiesta richiesto errata vereist onjuist verplicht vergeten
"""
_COMMON = frozenset(_WORDS.split())
"""Words that are no secret when they are the whole value."""
_PROSE_TEXT = """
the your you is are must should please enter with for and not this that has been was were will can cannot of to in at
least contain contains forgot invalid incorrect wrong required reset der die das ist ihr bitte dein le la les votre est
el su es sua seu del von und oder une un per il lo que
"""
_PROSE = frozenset(_PROSE_TEXT.split())
"""Words of which two make a text in quotes a sentence."""
_TECHNICAL = re.compile(
    r"(?:sha|md|aes|rsa|utf|iso|base|oauth|http|hs|rs|es|ps|argon|bcrypt|scrypt|pbkdf|ed|x|p|v|ver|version|tls|ssl|wpa"
    r"|blake|chacha"
    r"|python|py|node|java|php|go|k|i|s|ec|log|web|ip|ipv|h|q|fy|cve|rfc|iso|kb|windows|win|ubuntu|debian|rhel|gpt|llama|claude"
    r"|crc|des|3des|pkcs|nist|fips|soc|tier|level|step|phase|day|week|month|year|page|line|row|item|issue|ticket|pr|task"
    r"|user|plan"
    r"|1password|2fa|auth0|okta|office365|o365|a1|b2b|b2c|p2p|e2e|top|test|mod|usb|mp"
    r"|cl)[-_ ]?[0-9]{0,6}[a-z]{0,2}(?:[-_./:][a-z0-9]{1,8}){0,4}",
    re.IGNORECASE,
)
"""Standards, programs and counters: letters and digits that are no secret."""
_QUANTITY = re.compile(
    r"[$€£¥]?[0-9][0-9.,:/_x×-]{0,30}(?:[%$€£¥]|st|nd|rd|th|s|sec|ms|m|min|mins|h|hr|hrs|hours?|d|days?|w|weeks?|mo"
    r"|months?|y|years?|k|kb|mb|gb|tb|kib|mib|gib"
    r"|bit|bits|bytes?|chars?|characters?|digits?|px|pt|am|pm|x|m|bn|b|usd|eur|gbp|tokens?|rpm|tpm|users?|times?"
    r"|letters?|fach|-?[a-z]{3,12})?",
    re.IGNORECASE,
)
_TIME = re.compile(r"[0-9]{2,4}-[0-9]{2}(?:-[0-9]{2})?(?:[T_][0-9:.]{2,15}(?:Z|[+-][0-9:]{2,5})?)?")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_SLUG = re.compile(
    r"(?:[a-z]{2,24}|[A-Z]{2,24}|[A-Z][a-z]{1,24})(?:[-_./:](?:[A-Za-z]{1,24}|[0-9]{1,10}|[A-Za-z]{1,2}[0-9]{1,4}))+"
)
_PLACEHOLDER = re.compile(
    r"<.{1,80}>|\$\{.{0,120}|\$\(.{0,120}|\$[A-Za-z_][A-Za-z0-9_]{0,80}|\$[0-9]{1,2}|\{\{?.{0,120}"
    r"|%[A-Za-z_][A-Za-z0-9_]{0,60}%|%\([A-Za-z0-9_]{1,60}\)?[sd]?|%[sdr]|@[A-Za-z_.]{1,80}\(.{0,80}|:[a-z_]{2,40}"
    r"|\[[^\]]{0,80}\]?|\(.{0,80}|&[a-z_]{1,40}|#(?![^\s#]{8}).{0,80}|#[A-Za-z_-]{0,80}|#[0-9a-f]{8}|[*•·.…_=?-]{2,}.{0,3}|[xX]{3,}|0{6,}|\.{3}.{0,20}"
    r"|(?:your|my|the|some|any|insert|enter|put|add|replace|change|dein|deine|ihr|votre|tu|su)[-_ ].{0,80}"
    r"|changeme[0-9!]{0,4}|replaceme|change[-_]?it|your[A-Z].{0,60}"
    r"|.{0,40}(?:goes|value|placeholder|here|example|redacted|removed|hidden|masked|omitted)",
    re.IGNORECASE,
)
_RUN = re2.compile(r"[xX]{6}|\*{4}|\.{3}|…|0{12}|1234567890abcdef1234567890|(?i:your[-_]|[-_]here\b|placeholder|redacted)")
_CODE = re.compile(
    r"[A-Za-z_$][A-Za-z0-9_$]{0,60}(?:(?:\?\.|\.|::"
    r"|->)[A-Za-z_$][A-Za-z0-9_$]{0,60}){0,8}[!?]?\s?[(\[{<]"  # a call, an index, a type
    r"|(?:self|this|cls|args|opts|options|config|cfg|conf|settings|env|process|os|app|ctx|context|request|req|res"
    r"|response|params|props|state|user|account|data"
    r"|body|form|event|session|secrets|vault|var|local|module|values|import|System|Environment|Deno|Bun|creds|credentials"
    r"|auth|client|db|row|result|parsed|payload)"
    r"(?:\?\.|\.|::|->)[A-Za-z_].{0,80}"
    r"|(?:await|new|async|lambda|function|fn|def|not|typeof|readonly|const|let|var|return|raise|throw|if|else|import|from"
    r"|os|io)\b.{0,80}"
    r"|(?:f|rf|fr)[\"'].{0,120}|->.{0,40}|=>.{0,40}"
    r"|(?:Read|Get|ConvertTo|ConvertFrom|New|Import|Export|Invoke|Select|Join|Protect|Unprotect)-[A-Z][A-Za-z]{2,40}(?![\w-])"
)
_TYPE = re.compile(
    r"(?:builtins\.)?(?:str|int|bytes|bool|float|object|any|string|boolean|number|char|text|varchar|uuid|buffer|secretstr"
    r"|secret|never|unknown|undefined|void|nil|null|none|optional|list"
    r"|dict|map|union|literal|path|url|date|datetime|array|vec|option|result|func|callable|true|false"
    r"|nan)(?:[\[<({?|&!].{0,80})?[;,?]?",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(
    r"[A-Za-z][a-z]{1,30}(?:_[a-z]{1,30}){1,6}|[a-z]{2,30}(?:[A-Z][a-z]{1,30}){1,6}|[A-Z]{2,30}(?:_[A-Z]{1,30}){1,6}"
    r"|[a-z]{1,30}\.[a-z_.]{2,60}"
)


def is_placeholder(value: str) -> bool:
    """Whether it stands for a secret: `<your key>`, `${KEY}`, `xxxx`, `{{ secrets.KEY }}`, `your-key-here`."""
    value = value[:MOST_CHARACTERS].strip()
    return _PLACEHOLDER.fullmatch(value) is not None or _RUN.search(value) is not None


def is_code(value: str) -> bool:
    """Whether an unquoted value is an expression: a call, an attribute, a type, a name of several words."""
    value = value[:MOST_CHARACTERS]
    return _CODE.match(value) is not None or _TYPE.fullmatch(value) is not None


def is_name(value: str) -> bool:
    """Whether it reads like the name of a variable or a field: `user_input`, `nextToken`, `MY_TOKEN`."""
    return _IDENTIFIER.fullmatch(value[:MOST_CHARACTERS]) is not None


def is_word(value: str) -> bool:
    """Whether it is a word that says something about a secret, such as `required`."""
    return value[:MOST_CHARACTERS].strip(".,;:!?()[]").casefold() in _COMMON


def is_sentence(value: str) -> bool:
    """Whether a text in quotes is meant to be read."""
    words = value[:MOST_CHARACTERS].casefold().split()
    return len(words) > 2 and sum(word.strip(".,;:!?") in _PROSE for word in words) > 1


def is_known(value: str) -> bool:
    """Whether it is a quantity, a time, an id or a standard."""
    value = value[:MOST_CHARACTERS]
    return any(pattern.fullmatch(value) for pattern in (_TECHNICAL, _QUANTITY, _TIME, _UUID))


def looks_made_up(value: str) -> bool:
    """Letters and digits mixed, at least 6 characters, and nothing that is known to look so: a quantity, a time, an id, an
    address, a slug, a standard."""
    value = value[:MOST_CHARACTERS]
    if len(value) < 6 or not _is_mixed(value):
        return False
    if value[0] == "#":
        return len(value) > 9 and looks_made_up(value[1:])
    if "://" in value or value.startswith(("www.", "./", "~/", "@")) or is_path(value):
        return False
    if is_known(value) or is_placeholder(value):
        return False
    return not any(pattern.fullmatch(value) for pattern in (_SLUG, _CODE_FULL))


_CODE_FULL = re.compile(
    r"[A-Za-z_.][A-Za-z0-9_.]{0,60}[(\[].{0,200}|[A-Za-z0-9_./\\-]{1,200}\.(?:py|js|ts|md|txt|json|ya?ml|toml|env|png"
    r"|jpe?g|csv|pdf|html?|com|org|net|io|dev|ai|example|internal|local)\b.{0,200}"
)


def looks_random(value: str) -> bool:
    """As a key that a program made: at least 16 characters of a kind, of which many differ, two digits among them."""
    value = value[:MOST_CHARACTERS].rstrip("=")
    if len(value) < 16 or not looks_made_up(value) or not _RANDOM.fullmatch(value):
        return False
    return len(set(value)) >= min(12, len(value) // 2) and sum(map(str.isdigit, value)) >= 2


_RANDOM = re.compile(r"[A-Za-z0-9+/_.~-]{16,}")
_BASE64 = re.compile(r"/(?![A-Za-z]{2,12}/)[A-Za-z0-9+/]{31,}=*")


def is_path(value: str) -> bool:
    """Whether it is an address or the path of a file. Base64 may begin with a slash, too."""
    if value.startswith(("http://", "https://")):
        return True
    return value.startswith("/") and not (_BASE64.fullmatch(value) and looks_random(value.lstrip("/").replace("/", "+")))


def _is_mixed(value: str) -> bool:
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def is_filler(key: str) -> bool:
    """Whether what has the format of a key is none: `sk-xxxxxxxxxxxxxxxxxxxx`, words joined by hyphens."""
    return _RUN.search(key) is not None or not (any(map(str.isdigit, key)) or any(map(str.isupper, key)))
