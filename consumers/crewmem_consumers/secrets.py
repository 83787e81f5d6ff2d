"""Secrets in a text: where they are. Patterns come from detect-secrets' detectors and, for what those do not know, from here.

detect-secrets is used for its detectors alone: its scanner wants files, keeps process-wide settings, and may go to the
network to verify a find.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from detect_secrets.plugins.artifactory import ArtifactoryDetector
from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.cloudant import CloudantDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.ibm_cloud_iam import IbmCloudIamDetector
from detect_secrets.plugins.ibm_cos_hmac import IbmCosHmacDetector
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.npm import NpmDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.softlayer import SoftlayerDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector


@dataclass(frozen=True, slots=True)
class Secret:
    """text[start:end] is a secret; `label` says of which kind."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Detector:
    """A pattern, and literals of which one is in every text that it matches (lower case; none: it always runs)."""

    label: str
    pattern: re.Pattern[str]
    literals: tuple[str, ...] = ()
    group: int = 0

    def find(self, text: str, lowered: str) -> Iterator[Secret]:
        for literal in self.literals:
            if literal in lowered:
                break
        else:
            if self.literals:
                return
        for match in self.pattern.finditer(text):
            start, end = match.span(self.group)
            if end > start:
                yield Secret(start, end, self.label)


class AssignedDetector:
    """`password=...`, `"api_key": "..."`, `the password is "..."`. Looks for assignments, which are few, then for the name."""

    def find(self, text: str, lowered: str) -> Iterator[Secret]:
        for match in _ASSIGNED.finditer(text):
            before = lowered[max(0, match.start() - _NAME_LENGTH) : match.start()]
            if _NAME.search(before) and not _REDACTED.search(before):
                start, end = match.span(match.lastindex or 0)
                yield Secret(start, end, "password")


class SpokenDetector:
    """`the password for the wiki is ...`, `with the password ...`, `token: ...`, `curl -u user:...`: what prose and commands
    call a secret. Names alone say little there, so a value counts if it looks made up: letters and digits without a space."""

    def find(self, text: str, lowered: str) -> Iterator[Secret]:
        for pattern, label, literals in _SPOKEN:
            if any(literal in lowered for literal in literals):
                yield from (Secret(*match.span(1), label) for match in pattern.finditer(text))


_AFTER_CL = ("_", "-", "api", "key", "pw", "pass", "token")
"""What the library's pattern for Cloudant lets stand right after `cl` or `clou`."""

_LIBRARY: tuple[tuple[type[RegexBasedDetector], str, tuple[str, ...]], ...] = (
    (ArtifactoryDetector, "api key", ("akc", "ap")),
    (AWSKeyDetector, "api key", ("akia", "asia", "abia", "acca", "a3t", "aws")),
    (AzureStorageKeyDetector, "api key", ("accountkey",)),
    (CloudantDetector, "api key", ("cloudant", *(start + end for start in ("cl", "clou") for end in _AFTER_CL))),
    (DiscordBotTokenDetector, "token", (".",)),
    (GitHubTokenDetector, "token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    (GitLabTokenDetector, "token", ("gl", "gr1348941")),
    (IbmCloudIamDetector, "api key", ("key", "pwd", "pass", "token")),
    (IbmCosHmacDetector, "api key", ("secret",)),
    (JwtTokenDetector, "token", ("eyj",)),
    (MailchimpDetector, "api key", ("-us",)),
    (NpmDetector, "token", ("_authtoken",)),
    (OpenAIDetector, "api key", ("t3blbkfj",)),
    (PypiTokenDetector, "token", ("pypi-",)),
    (SendGridDetector, "api key", ("sg.",)),
    (SlackDetector, "token", ("xox", "hooks.slack.com")),
    (SoftlayerDetector, "api key", ("softlayer", "sl")),
    (SquareOAuthDetector, "token", ("sq0csp-",)),
    (StripeDetector, "api key", ("k_live_",)),
    (TelegramBotTokenDetector, "token", (":",)),
    (TwilioKeyDetector, "api key", ("ac", "sk")),
)
"""Detector, label, and what every match of it holds in lower case. Not taken: high-entropy strings (ids and hashes are what
crews work with), the keyword detector (made for source code: in prose it takes the rest of the line), and IP addresses."""

_PREFIXED = re.compile(
    r"""(?<![A-Za-z0-9])(?:
      am_live_[0-9a-fA-F]{32}                          # crewmem's own
    | sk-[A-Za-z0-9_-]{20,}                            # OpenAI, Anthropic, OpenRouter, DeepSeek
    | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,} | whsec_[A-Za-z0-9+/=]{16,}
    | AIza[A-Za-z0-9_-]{35} | GOCSPX-[A-Za-z0-9_-]{20,} | ya29\.[A-Za-z0-9_-]{20,}
    | github_pat_[A-Za-z0-9_]{22,} | gh[pousr]_[A-Za-z0-9]{20,}
    | hf_[A-Za-z0-9]{20,} | gsk_[A-Za-z0-9]{20,} | xai-[A-Za-z0-9]{20,} | pplx-[A-Za-z0-9]{20,} | r8_[A-Za-z0-9]{20,}
    | tvly-[A-Za-z0-9_-]{16,} | fc-[0-9a-f]{32} | nvapi-[A-Za-z0-9_-]{20,} | csk-[A-Za-z0-9]{20,} | lsv2_[A-Za-z0-9_]{20,}
    | (?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}
    | xox[abeoprs]-[A-Za-z0-9-]{10,} | xapp-[A-Za-z0-9-]{10,}
    | npm_[A-Za-z0-9]{30,} | pypi-[A-Za-z0-9_-]{50,} | dop_v1_[0-9a-f]{64} | dapi[0-9a-f]{32}
    | shpat_[0-9a-fA-F]{32} | lin_api_[A-Za-z0-9]{30,} | ntn_[A-Za-z0-9]{30,} | secret_[A-Za-z0-9]{40,}
    | hvs\.[A-Za-z0-9_-]{20,} | eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*
    | AGE-SECRET-KEY-1[A-Z0-9]{58}
    )""",
    re.VERBOSE,
)
_PREFIXES = (
    "am_live_", "sk-", "sk_", "rk_", "pk_", "whsec_", "aiza", "gocspx-", "ya29.", "github_pat_", "ghp_", "gho_", "ghu_", "ghs_",
    "ghr_", "hf_", "gsk_", "xai-", "pplx-", "r8_", "tvly-", "fc-", "nvapi-", "csk-", "lsv2_", "a3t", "akia", "asia", "abia",
    "acca", "xox", "xapp-", "npm_", "pypi-", "dop_v1_", "dapi", "shpat_", "lin_api_", "ntn_", "secret_", "hvs.", "eyj",
    "age-secret-key-1",
)  # fmt: skip
"""What every match of it begins with, in lower case."""
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:.*?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|.*\Z)"
    r"|PuTTY-User-Key-File-\d.*\Z",
    re.DOTALL,
)
_AUTHORIZATION = re.compile(r"\b(?:bearer|basic|token)\s+([A-Za-z0-9._~+/=-]{16,})", re.IGNORECASE)
_VALUE = r"""(?:"([^"\n]{3,})"|'([^'\n]{3,})'|`([^`\n]{3,})`|(?!\[redacted)([^\s"'`,;<>(){}\[\]]{3,}))"""
_NAME = re.compile(
    r"""(?:password|passwd|passphrase|passcode|pwd|db_?pass|api[_ -]?key|access[_ -]?key(?:[_ -]?id)?|secret[_ -]?key|"""
    r"""client[_ -]?secret|account[_ -]?key|private[_ -]?key|auth[_ -]?key|encryption[_ -]?key|[a-z]_secret|[a-z]_token(?!s)|"""
    r"""(?:auth|access|refresh|bearer|secret)[ -]?token(?!s))\w{0,20}\Z""",
    re.IGNORECASE,
)
_LOOKS_MADE_UP = r"""(?=[^\s]*\d)(?=[^\s]*[A-Za-z])[^\s"'`]{6,}"""
_ASSIGNED = re.compile(
    r"""["'`\])*]{0,3}[ \t]{0,3}(?:=>|:=|={1,3}|:|\bis\b(?=:?\s+["'`]))[*]{0,2}\s{0,3}(?="""
    + _VALUE
    + rf""")|[ \t]\bis:?[ \t]+(?=({_LOOKS_MADE_UP}))"""
)
"""The value is looked at, not taken: it may itself be a name with a value (`drive: password=...`)."""
_NAME_LENGTH = 60
_REDACTED = re.compile(r"\[redacted: [a-z -]{3,20}\Z")
_IS_NO_SECRET = r"(?![$€£¥]|https?://|\d[\d.,]*\b)"
"""What has letters and digits and is none: a price, an address, a date."""
_MADE_UP = _IS_NO_SECRET + r"""((?=[^\s]*\d)(?=[^\s]*[A-Za-z])[^\s"'`<>(){}|,;]{6,})"""
_LONG_MADE_UP = _IS_NO_SECRET + r"((?=[^\s]*\d)(?=[^\s]*[A-Za-z])[A-Za-z0-9._~+/=-]{12,})"
_SAID = (
    r"""(?:[^.!?\n]{0,60}?[\s)](?:is|was|be|to|as|now)\b:?[ \t]+|[^.!?\n:=]{0,60}[:=](?!//)\s{0,3}|[^\w\n]{1,5})["'`(*]{0,3}"""
)
"""What stands between a name and its value: a few words and a verb, a colon, or next to nothing."""
_A_PASSWORD = r"(?<!\[redacted: )\b(?:pass(?:word|wd|phrase|code)|pwd|passwort|kennwort|contraseña|mot de passe|senha)"
_A_KEY = r"(?<!\[redacted: )\b(?:api|access|secret|private|auth|bearer|refresh|security)[ _-]?(?:key|token)"
_A_SECRET = r"(?<![A-Za-z])(?:secret|token|pw|pass|credentials?|cookie)[ \t]{0,3}[:=][ \t]{0,3}" + r"""["'`]?"""
_ARGUMENT = r"""(?:\bcurl\b[^\n]{0,200}?\s(?:-u|--user)[ =]?["']?[^\s:"']{1,100}:|\bsshpass\s+-p\s{0,3}["']?)([^\s"']{3,})"""
_SPOKEN = (
    (re.compile(_A_PASSWORD + _SAID + _MADE_UP, re.IGNORECASE), "password", ("pass", "pwd", "kennw", "contras", "senha")),
    (re.compile(_A_KEY + _SAID + _LONG_MADE_UP, re.IGNORECASE), "api key", ("key", "token")),
    (re.compile(_A_SECRET + _MADE_UP, re.IGNORECASE), "password", ("secret", "token", "pw", "pass", "credential", "cookie")),
    (re.compile(_ARGUMENT), "password", ("curl", "sshpass")),
)
"""Pattern with the secret as its group, label, and literals of which one is in every text that it matches."""
_URL_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@?#]{0,200}:([^\s/@]{1,200})@", re.IGNORECASE)
_URL_PARAMETER = re.compile(
    r"[?&](?:api_?key|key|token|access_token|auth|sig|signature|password|pwd|secret|client_secret)=([^\s&#\"'<>)]{6,})",
    re.IGNORECASE,
)


def _library() -> list[Detector]:
    found = [
        Detector(label, pattern, literals)
        for plugin, label, literals in _LIBRARY
        for pattern in plugin().denylist
    ]  # fmt: skip
    found += [Detector("password", pattern, ("://",), group=1) for pattern in BasicAuthDetector().denylist]
    return found


DETECTORS: tuple[Detector | AssignedDetector | SpokenDetector, ...] = (
    Detector("private key", _PRIVATE_KEY, ("private key", "putty-user-key-file")),
    *_library(),
    Detector("api key", _PREFIXED, _PREFIXES),
    Detector("token", _AUTHORIZATION, ("bearer", "basic", "token"), group=1),
    Detector("password", _URL_PASSWORD, ("://",), group=1),
    Detector("token", _URL_PARAMETER, ("=",), group=1),
    AssignedDetector(),
    SpokenDetector(),
)

PERSONAL: tuple[Detector, ...] = (
    Detector("e-mail address", re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}"), ("@",)),
    Detector("phone number", re.compile(r"(?<![\w.,-])(?:\+|00)\d{1,3}[ ./-]?(?:\(?\d{1,5}\)?[ ./-]?){2,6}\d{2,4}(?![\w-])")),
    Detector("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")),
)
"""What `redaction: personal` takes out as well."""


def find(text: str, *, personal: bool = False) -> list[Secret]:
    """Every secret, in order, without overlaps: of two that overlap one is made."""
    lowered = text.lower()
    found = sorted(
        (secret for detector in (DETECTORS + PERSONAL if personal else DETECTORS) for secret in detector.find(text, lowered)),
        key=lambda secret: (secret.start, -secret.end),
    )
    merged: list[Secret] = []
    for secret in found:
        if merged and secret.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = Secret(last.start, max(last.end, secret.end), last.label)
        else:
            merged.append(secret)
    return merged
