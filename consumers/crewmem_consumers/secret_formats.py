"""Formats of keys and tokens: what providers hand out is known by its prefix and its length.

Some patterns were taken from Yelp's detect-secrets (Apache License 2.0, see NOTICE). All are RE2, so the work grows with the
length of the text and with nothing else.
"""

from __future__ import annotations

import re2

_API_KEYS = (
    # crewmem
    r"am_live_[0-9a-fA-F]{32}", r"crewmem-master-[0-9a-fA-F]{32,}",
    # models, search, tracing
    r"sk-[A-Za-z0-9_-]{20,}", r"sk-T3BlbkFJ[A-Za-z0-9]{20}", r"gsk_[A-Za-z0-9]{20,}", r"xai-[A-Za-z0-9]{20,}",
    r"pplx-[A-Za-z0-9]{20,}", r"r8_[A-Za-z0-9]{20,}", r"tvly-[A-Za-z0-9_-]{16,}", r"fc-[0-9a-f]{32}",
    r"nvapi-[A-Za-z0-9_-]{20,}",
    r"csk-[A-Za-z0-9]{20,}", r"lsv2_[A-Za-z0-9_]{20,}", r"pcsk_[A-Za-z0-9_]{20,}", r"fw_[A-Za-z0-9]{20,}", r"sk_[0-9a-f]{48}",
    r"hf_[A-Za-z0-9]{20,}", r"api_org_[A-Za-z0-9]{20,}", r"jina_[A-Za-z0-9_-]{30,}", r"tgp_v1_[A-Za-z0-9_-]{30,}",
    r"voyage-[A-Za-z0-9]{20,}", r"(?:sk|pk)-lf-[0-9a-f-]{36}", r"phx_[A-Za-z0-9]{30,}", r"bb_live_[A-Za-z0-9_-]{20,}",
    r"e2b_[0-9a-f]{40}", r"apify_api_[A-Za-z0-9]{30,}",
    # clouds
    r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[A-Z0-9]{16}\b", r"ABSK[A-Za-z0-9+/=]{40,}", r"bedrock-api-key-[A-Za-z0-9+/=]{40,}",
    r"AIza[A-Za-z0-9_-]{35}", r"GOCSPX-[A-Za-z0-9_-]{20,}", r"ya29\.[A-Za-z0-9_-]{20,}", r"1//0[A-Za-z0-9_-]{40,}",
    r"GOOG[A-Z0-9]{20,60}\b",
    r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", r"[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{24,26}", r"LTAI[A-Za-z0-9]{12,24}\b",
    r"AKID[A-Za-z0-9]{32}\b", r"AQVN[A-Za-z0-9_-]{35,}", r"SCW[A-Z0-9]{17}\b", r"do[opr]_v1_[0-9a-f]{64}",
    r"v1\.0-[0-9a-f]{24}-[0-9a-f]{100,}",
    r"(?:cfut|cfat|cfk)_[A-Za-z0-9]{40,}", r"HRKU-[A-Za-z0-9_-]{30,}", r"fo1_[A-Za-z0-9_-]{40,}",
    r"fm[12][ar]?_[A-Za-z0-9+/=_-]{40,}", r"pul-[0-9a-f]{40}",
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}", r"hv[sbr]\.[A-Za-z0-9_-]{20,}", r"s\.[A-Za-z0-9]{24}\b",
    r"dp\.(?:pt|st|sa|ct|scim|audit)\.[A-Za-z0-9._-]{20,}",
    r"tskey-[a-z]{2,10}-[A-Za-z0-9-]{16,}", r"nfp_[A-Za-z0-9]{30,}", r"rnd_[A-Za-z0-9]{28,}", r"vc[pkiar]_[A-Za-z0-9]{40,}",
    r"ops_eyJ[A-Za-z0-9_-]{40,}",
    r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{58}", r"SWMTKN-1-[a-z0-9]{40,}-[a-z0-9]{20,}", r"K10[0-9a-f]{64}::[a-z]+:[0-9a-f]{32}",
    r"S[UAOCNX][A-Z2-7]{56}\b",
    # code and packages
    r"github_pat_[A-Za-z0-9_]{22,}", r"gh[pousr]_[A-Za-z0-9]{20,}",
    r"(?:glpat|gldt|glft|glsoat|glrt|glrtr|glcbt|glptt|glimt|glagent|gloas|glffct|glwt)-[A-Za-z0-9_.-]{20,}",
    r"GR1348941[A-Za-z0-9_-]{20,}",
    r"dckr_[po]at_[A-Za-z0-9_-]{20,}", r"npm_[A-Za-z0-9]{30,}", r"pypi-[A-Za-z0-9_-]{50,}", r"rubygems_[0-9a-f]{48}",
    r"cio[A-Za-z0-9]{32}\b",
    r"oy2[a-z0-9]{43}\b", r"AKCp[A-Za-z0-9]{60,}", r"cmVmdGtuOj[A-Za-z0-9+/=]{40,}", r"ATATT3[A-Za-z0-9_=-]{60,}",
    r"AT(?:BB|CTT3)[A-Za-z0-9_=-]{24,}",
    r"CCI(?:PAT|PRJ)_[A-Za-z0-9_]{30,}", r"bk(?:ua|ct|pt|at)_[A-Za-z0-9]{30,}", r"sq[upa]_[0-9a-f]{40}",
    r"sgp_(?:[0-9a-f]{16}_|local_)?[0-9a-f]{40}",
    r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}", r"pn[ubst]_[A-Za-z0-9]{30,}", r"snyk_[a-z]{2,4}_[A-Za-z0-9._-]{20,}",
    # data, monitoring
    r"dapi[0-9a-f]{32}(?:-[0-9])?", r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{30,}", r"sbp_(?:v0_)?[0-9a-f]{40}",
    r"sb_secret_[A-Za-z0-9_-]{20,}", r"napi_[a-z0-9]{40,}",
    r"NR(?:AK|JS|II|IQ|RA|AA|MA|BR)-[A-Za-z0-9_-]{19,}", r"[0-9a-f]{36}NRAL\b", r"sntr[yu]s?_[A-Za-z0-9+/=_]{40,}",
    r"gl(?:c|sa)_[A-Za-z0-9+/=_]{30,}", r"eyJrIjoi[A-Za-z0-9+/=]{40,}",
    r"dt0[a-z]01\.[A-Z0-9]{24}\.[A-Z0-9]{64}", r"ddp_[A-Za-z0-9]{34,}", r"AIO_[A-Za-z0-9]{24,}", r"hcaik_[a-z0-9_]{40,}",
    r"xaat-[0-9a-f-]{36}",
    # payment and shops
    r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}", r"whsec_[A-Za-z0-9+/=]{16,}", r"sq0(?:csp|atp|idp)-[0-9A-Za-z_-]{22,}",
    r"EAAA[A-Za-z0-9_-]{56,}",
    r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}", r"shp(?:at|ss|ca|pa|tka|ptg)_[0-9a-fA-F]{32}",
    r"rzp_(?:live|test)_[A-Za-z0-9]{14,}",
    r"FLWSECK(?:_TEST)?-[A-Za-z0-9-]{20,}", r"access-(?:sandbox|development|production)-[0-9a-f]{8}-[0-9a-f-]{27}",
    r"live_[A-Za-z0-9]{30,}", r"test_[A-Za-z]{0,15}[0-9][A-Za-z0-9]{24,}",
    r"APP_USR-[0-9]{10,}-[0-9A-Za-z-]{20,}", r"cko?_live_[A-Za-z0-9]{20,}", r"gocardless_[A-Za-z0-9_-]{30,}",
    r"live_pk_[A-Za-z0-9]{20,}",
    # mail, chat, work
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{30,}", r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}",
    r"xsmtpsib-[0-9a-f]{64}-[A-Za-z0-9]{16}", r"re_[A-Za-z0-9]{8,12}_[A-Za-z0-9]{20,}",
    r"key-[0-9a-f]{32}\b", r"[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}\b", r"[0-9a-z]{32}-us[0-9]{1,2}\b",
    r"(?:AC|SK)[0-9a-fA-F]{32}\b", r"lin_(?:api|oauth)_[A-Za-z0-9]{30,}",
    r"ntn_[A-Za-z0-9]{30,}", r"secret_[A-Za-z0-9]{40,}", r"fig[dop]r?_[A-Za-z0-9_-]{30,}",
    r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}", r"pat-[a-z]{2}[0-9]-[0-9a-f]{8}-[0-9a-f-]{27}",
    r"CFPAT-[A-Za-z0-9_-]{40,}", r"tfp_[A-Za-z0-9_.-]{40,}", r"[sp]k\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{10,}",
    r"sl\.[A-Za-z0-9_-]{100,}", r"EAA[A-Za-z0-9]{60,}",
    r"A{19,22}[A-Za-z0-9%]{40,}", r"AAAA[A-Za-z0-9_-]{7}:[A-Za-z0-9_-]{100,}", r"00D[A-Za-z0-9]{12,15}![A-Za-z0-9_.]{40,}",
    r"xprv[1-9A-HJ-NP-Za-km-z]{100,}", r"[5KL][1-9A-HJ-NP-Za-km-z]{50,51}\b",
    r"4/0A[A-Za-z0-9_-]{30,}", r"[0-9]{12,}-[a-z0-9]{32}:[A-Za-z0-9_-]{20,}",
    r"ey[JK][A-Za-z0-9+/=]{20,}\.\.[A-Za-z0-9_-]{20,}",
)  # fmt: skip

_TOKENS = (
    r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*){0,3}", r"xox[abceoprs](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}",
    r"xapp-[A-Za-z0-9-]{10,}",
    r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}", r"mfa\.[A-Za-z0-9_-]{80,}",
    r"[0-9]{8,10}:(?:AA[A-Za-z0-9_-]{33}|[A-Za-z0-9_-]{35}\b)", r"y0_[A-Za-z0-9_-]{30,}",
    r"v[1-4]\.(?:public|local)\.[A-Za-z0-9_-]{40,}",
)  # fmt: skip

_ADDRESSES = (
    r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9_/+-]{20,})",
    r"discord(?:app)?\.com/api/(?:v[0-9]{1,2}/)?webhooks/([0-9]{5,25}/[A-Za-z0-9_-]{20,})",
    r"[a-z0-9.-]{1,100}\.?webhook\.office\.com/webhookb2/([A-Za-z0-9@/-]{30,})",
    r"hooks\.zapier\.com/hooks/catch/([0-9]{4,12}/[A-Za-z0-9]{5,})",
    r"api\.telegram\.org/bot([0-9]{6,12}:[A-Za-z0-9_-]{30,})",
    r"chat\.googleapis\.com/v1/spaces/[A-Za-z0-9_-]{5,40}/messages\?([A-Za-z0-9_=&%-]{30,})",
    r"api\.softlayer\.com/soap/v3(?:\.1)?/([a-z0-9]{64})", r"outlook\.office\.com/webhook/([A-Za-z0-9@/-]{30,})",
    r"hook\.[a-z0-9.]{0,10}make\.com/([a-z0-9]{20,})",
)  # fmt: skip
"""Addresses that anyone may post to who has them: the path is the secret."""

_BEGIN = r"(?:\b|_)"
"""Not inside of a word. A name in capitals may end right before it: `KEY_ghp_...`."""


def _any(patterns: tuple[str, ...]) -> str:
    return "|".join(patterns)


LARGE = re2.Options()
LARGE.max_mem = 64 << 20
"""What RE2 may take for its states, in bytes; with less it falls back to a slower search."""

KEY = re2.compile(_BEGIN + rf"(?:({_any(_API_KEYS)})|({_any(_TOKENS)}))", LARGE)
"""Group 1 is an API key, group 2 a token."""
ADDRESS = re2.compile(rf"\b(?:{_any(_ADDRESSES)})")
"""One of its groups is the secret part."""
PRIVATE_KEY = re2.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----"
    r"|PuTTY-User-Key-File-[0-9]"
)
"""Where one begins."""
PRIVATE_KEY_END = re2.compile(
    r"-----END (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----|---- END SSH2 ENCRYPTED PRIVATE KEY ----"
    r"|Private-MAC: [0-9a-f]{40,64}"
)
