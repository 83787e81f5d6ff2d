"""Every setting of crewmem: one model a role, one name a setting; read here and nowhere else.

A setting `base_url` is `base_url=` as argument, CREWMEM_BASE_URL in the environment (CREWMEM_BASE_URL_FILE names a file that
holds it), `base_url` in crewmem.toml, then its default; in that order.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError as SourceError

from crewmem_producers import limits, local_service
from crewmem_producers.errors import SettingsError
from crewmem_producers.master_key import PublicKey
from crewmem_producers.master_key import check as check_master_keys
from crewmem_producers.names import check_tenant, normalise_session
from crewmem_producers.setting_sources import (
    CONFIG_VARIABLE,
    PREFIX,
    SourcedSettings,
    config_path,
    kubernetes_names,
    origin,
    read_config,
)

DEFAULT_BASE_URL = "http://127.0.0.1:8765"
API_KEY_NAME, MASTER_KEY_NAME = "api_key", "master_key"
"""In the home folder: what `crewmem up` made. Its address is there too (`local_service`)."""
TEST_PREFIX = "CREWMEM_TEST_"
"""What tests and benchmarks read begins so, and is no setting."""

_ADDRESS = re.compile(r"https?://\S+$")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+]+:/*")  # two characters at least: C:\\ is a folder


ROTATED = ("kafka_sasl_password", "kafka_key_password")
"""Secrets that may be changed while a process runs."""


def _secret_in(path: Path) -> str | None:
    """What the file holds, white space at the end removed; None where it cannot be read."""
    try:
        return path.read_text("utf-8").rstrip()
    except (OSError, ValueError):
        return None


class CommonSettings(SourcedSettings):
    """What every role has."""

    namespace: str = Field("crewmem", pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", description="prefix of topics and groups")
    tenant: str = Field("default", description="tenant of the Kafka transport, of the first key and of `up`")
    home: Path = Field(Path("~/.crewmem"), description="folder of the SQLite log, the store, the key and the outbox")
    source: str = Field(
        default_factory=socket.gethostname, max_length=limits.SOURCE_CHARACTERS, description="name of this host in events"
    )

    @field_validator("tenant")
    @classmethod
    def _tenant(cls, value: str) -> str:
        return check_tenant(value)

    @field_validator("home")
    @classmethod
    def _home(cls, value: Path) -> Path:
        return value.expanduser()


class KafkaSettings(CommonSettings):
    """How Apache Kafka is reached; without `kafka_bootstrap` there is no broker and the log is SQLite."""

    kafka_bootstrap: str | None = Field(None, description="host:port,... of Apache Kafka; unset: no broker")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how the brokers are spoken to"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("PLAIN", description="SASL mechanism")
    kafka_sasl_username: str | None = Field(None, description="SASL user")
    kafka_sasl_password: SecretStr | None = Field(None, description="SASL password")
    kafka_ca_file: Path | None = Field(None, description="CA certificates (PEM) that sign the brokers'")
    kafka_cert_file: Path | None = Field(None, description="client certificate (PEM)")
    kafka_key_file: Path | None = Field(None, description="client key (PEM)")
    kafka_key_password: SecretStr | None = Field(None, description="password of the client key")
    kafka_partitions: int = Field(12, ge=1, le=1000, description="partitions of a new events topic; fixed afterwards")
    kafka_replication: int = Field(-1, ge=-1, description="replicas of a new topic; -1: the brokers' default")
    kafka_wait_seconds: float = Field(
        60.0, ge=0, le=3600, description="how long a command waits for brokers that do not answer; services wait without end"
    )
    master_key: SecretStr | None = Field(
        None, description="master keys that open what is sealed, the first is current; default: the one that `up` made"
    )
    master_public_key: str | None = Field(None, description="the public half, where events are sealed and never opened")

    _secret_files: dict[str, Path] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Notes which secrets came from a file, which may be written again while the process runs."""
        for name in ROTATED:
            value, path = getattr(self, name), os.environ.get(f"{PREFIX}{name.upper()}_FILE")
            if value is not None and path and _secret_in(Path(path).expanduser()) == value.get_secret_value():
                self._secret_files[name] = Path(path).expanduser()

    def secret_now(self, name: Literal["kafka_sasl_password", "kafka_key_password"]) -> SecretStr | None:
        """The secret as it is now: one that came from CREWMEM_<NAME>_FILE is read again. What was read at the start counts
        while the file is empty or cannot be read, since it may be written just now."""
        value: SecretStr | None = getattr(self, name)
        found = _secret_in(self._secret_files[name]) if name in self._secret_files else None
        return SecretStr(found) if found else value

    @field_validator("master_key")
    @classmethod
    def _master_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_master_keys(value.get_secret_value())
        return value

    @field_validator("master_public_key")
    @classmethod
    def _master_public_key(cls, value: str | None) -> str | None:
        return None if value is None else PublicKey.parse(value).text

    @property
    def master_key_file(self) -> Path | None:
        """The file that holds the master keys: CREWMEM_MASTER_KEY_FILE, or without a broker what `up` made. None: no file."""
        if self.master_key is None:
            path = self.home / MASTER_KEY_NAME
            return path if not self.kafka_bootstrap and path.is_file() else None
        variable = PREFIX + "MASTER_KEY"
        named = Path(os.environ.get(f"{variable}_FILE") or "").expanduser()
        if origin("master_key") != f"{variable}_FILE" or not named.is_file():
            return None
        return named if named.read_text("utf-8").rstrip() == self.master_key.get_secret_value() else None


class CrewSettings(KafkaSettings):
    """A process that runs crews, or that asks the service."""

    base_url: str = Field(DEFAULT_BASE_URL, description="address of the recall service")
    api_key: SecretStr | None = Field(None, description="key for the service; default: the one that `up` wrote")
    session: str | None = Field(None, description="session of crews and of Memstore when none is given")
    durability: Literal["outbox", "log"] = Field("outbox", description="`log`: publishing waits for the log, or raises")
    flush_seconds: float = Field(2.0, ge=0, le=300, description="how long the end of a kickoff waits for the log")
    recall_timeout_seconds: float = Field(5.0, gt=0, le=300, description="how long a kickoff waits for recalled memory, in all")
    outbox_dir: Path | None = Field(None, description="folder of the outbox; default: <home>/outbox")
    outbox_max_mb: int = Field(1024, ge=1, description="size at which the outbox refuses, in MB")
    publish_inputs: list[str] = Field([], description="names of the kickoff inputs that are published")
    top_k: int = Field(8, ge=1, le=limits.TOP_K, description="memories recalled into a kickoff, at most")
    max_tokens: int = Field(600, ge=1, description="tokens of recalled memory in a prompt, at most")
    threshold: float = Field(0.15, ge=0, le=1, description="least cosine of a recalled memory")

    announce: bool = Field(True, description="one line on stderr after the first kickoff of a process; `off`: none")

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        if not _ADDRESS.match(value):
            raise ValueError(f"an address begins with http:// or https://, such as {DEFAULT_BASE_URL}")
        return value.rstrip("/").removesuffix("/v1").rstrip("/")  # the paths of the service begin with /v1

    @field_validator("session")
    @classmethod
    def _session(cls, value: str | None) -> str | None:
        return None if value is None else normalise_session(value)

    @property
    def outbox_folder(self) -> Path:
        return (self.outbox_dir or self.home / "outbox").expanduser()

    def service_url(self) -> str:
        """`base_url` where it is set, else where the `crewmem up` of this home listens now, else the default."""
        return self.base_url if "base_url" in self.model_fields_set else local_service.address(self.home) or self.base_url

    def resolved_api_key(self) -> str | None:
        """`api_key`, else what `crewmem up` left in <home>/api_key when the service is that of this machine: at the default
        address, or where `crewmem up` listens now.

        Raises SettingsError when that file cannot be read.
        """
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        path = self.home / API_KEY_NAME
        try:
            if self.service_url() in (DEFAULT_BASE_URL, local_service.address(self.home)) and path.is_file():
                return path.read_text("utf-8").strip() or None
        except (OSError, ValueError) as error:
            raise SettingsError(f"the key that `crewmem up` wrote cannot be read: {error}; set {PREFIX}API_KEY") from error
        return None


class StoreSettings(KafkaSettings):
    """Where memory is kept and how it is embedded: consumers and the service agree on these."""

    store: str | None = Field(None, description="folder or s3://bucket/prefix of the store; default: <home>/store")
    s3_endpoint: str | None = Field(None, description="address of an S3 server other than AWS")
    s3_region: str = Field("us-east-1", description="S3 region")
    s3_access_key: str | None = Field(None, description="S3 access key; unset: the usual AWS sources")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key")
    embedder: str = Field(
        "all-MiniLM-L6-v2", description="sentence-transformers model of the first generation; `crewmem replay --embedder` moves"
    )
    embedder_threads: int | None = Field(None, ge=1, description="CPU threads of the embedder; unset: all cores")

    @field_validator("store")
    @classmethod
    def _store(cls, value: str | None) -> str | None:
        scheme = _SCHEME.match(value or "")
        if scheme and not str(value).startswith("s3://"):
            raise ValueError(f"a folder or s3://bucket/prefix is wanted, not {scheme[0]}")
        return value

    @property
    def store_uri(self) -> str:
        return self.store or str(self.home / "store")


class ConsumerSettings(StoreSettings):
    """`crewmem consume`."""

    batch_rows: int = Field(2000, ge=1, le=2000, description="events that are processed and written at once, at most")
    batch_wait_ms: int = Field(200, ge=0, le=10_000, description="how long a batch that is not full waits, ms")
    record_seconds: float = Field(30.0, ge=1, le=3600, description="CPU time that the texts of one record may take, seconds")
    record_megabytes: int = Field(1024, ge=64, description="memory that the texts of one record may take, MB")
    group_instance_id: str | None = Field(None, description="static Kafka membership; unset: dynamic")
    consumer_host: str = Field("127.0.0.1", description="address of the consumer's health and metrics")
    consumer_port: int = Field(8766, ge=0, le=65535, description="port of the consumer's health and metrics")
    llm_base_url: str | None = Field(None, description="OpenAI-compatible endpoint for summaries; unset: none")
    llm_model: str | None = Field(None, description="its model; unset: `default`")
    llm_api_key: SecretStr | None = Field(None, description="its key")
    llm_timeout_seconds: float = Field(60.0, gt=0, description="how long one summary may take")


class ServiceSettings(StoreSettings):
    """`crewmem serve`."""

    host: str = Field("127.0.0.1", description="address that the service listens on")
    port: int = Field(8765, ge=0, le=65535, description="port that the service listens on")
    admin_key: SecretStr | None = Field(None, description="a first API key with every right (am_live_ and 32 hex digits)")
    keys_file: Path | None = Field(None, description="YAML file of API keys, the declarative way")
    rate_limit_per_minute: int | None = Field(
        None, ge=1, description="calls, and events, of a key in a minute, in each process of the service; unset: no limit"
    )
    wrong_keys_per_minute: int = Field(60, ge=1, description="wrong API keys of an address that get 401; more get 429")
    trusted_proxies: list[str] = Field([], description="addresses of proxies whose X-Forwarded-For says who calls")
    max_connections: int = Field(1_000, ge=10, description="connections of the service at once; an idle one makes room")
    calls_per_tenant: int = Field(256, ge=1, description="calls of one tenant in progress at once; more get 429")
    ingest_backlog_seconds: float = Field(
        10.0,
        ge=1,
        le=3600,
        description="seconds of consumers' work that a tenant may have undecided on a partition; then 429",
    )
    body_memory_mb: int = Field(256, ge=64, description="memory for bodies of calls, MB; a tenant gets a quarter of it")
    recall_threads: int = Field(2, ge=1, le=64, description="recalls that are computed at once, in turns of their tenants")
    queue_per_tenant: int = Field(64, ge=1, description="calls of one tenant that may wait for their turn; more get 429")
    recency_weight: float = Field(0.05, ge=0, le=1, description="what being new adds to a memory's rank, at most")
    recency_half_life_days: float = Field(30.0, gt=0, le=36_500, description="days after which half of that is left")
    importance_weight: float = Field(0.1, ge=0, le=1, description="what its importance (0 to 1) moves a memory's rank")


ROLES: dict[str, type[CommonSettings]] = {
    "crew": CrewSettings, "consumer": ConsumerSettings, "service": ServiceSettings,
}  # fmt: skip

S = TypeVar("S", bound=CommonSettings)


def load(model: type[S], **arguments: Any) -> S:
    """The settings of a role; `arguments` that are None are left out. Raises SettingsError, one line a mistake."""
    try:
        return model(**{name: value for name, value in arguments.items() if value is not None})
    except ValidationError as error:
        lines = [_mistake(model, item, arguments) for item in error.errors(include_url=False, include_input=False)]
        raise SettingsError("\n".join(lines)) from error
    except SourceError as error:
        raise SettingsError(_unreadable(error)) from error


def _unreadable(error: SourceError) -> str:
    """pydantic-settings names the field, and not the variable, of what it cannot read as JSON."""
    _, _, field = str(error).partition('field "')
    return f'{PREFIX}{field.partition(chr(34))[0].upper()}: a JSON list is needed, such as ["topic"]' if field else str(error)


def _mistake(model: type[CommonSettings], found: ErrorDetails, arguments: Mapping[str, Any]) -> str:
    name = str(found["loc"][0]) if found["loc"] else "settings"
    if found["type"] == "extra_forbidden":  # other sources give known names only: it was an argument
        return f"{name} is no setting{_nearest(name, set(model.model_fields))}"
    variable = PREFIX + name.upper()
    where = "an argument" if name in arguments else origin(name)
    of_file = f" ({name} in {where})" if where == str(config_path()) else ""
    return f"{variable}{of_file}: {found['msg'].removeprefix('Value error, ')}"


def known_names() -> dict[str, type[CommonSettings]]:
    """Every setting -> the first role that has it."""
    return {name: model for model in reversed(ROLES.values()) for name in model.model_fields}


def unknown_names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for each CREWMEM_* variable and each line of crewmem.toml that is no setting, with the nearest right name."""
    names = known_names()
    variables = {PREFIX + name.upper() for name in names} | {CONFIG_VARIABLE}
    variables |= {f"{variable}_FILE" for variable in variables}
    others = kubernetes_names(environ)
    said = [
        f"{variable} is no setting{_nearest(variable, variables)}"
        for variable in sorted(environ)
        if variable.startswith(PREFIX) and not variable.startswith(TEST_PREFIX) and variable not in variables | others
    ]
    path = config_path(environ)
    said += [f"{name} in {path} is no setting{_nearest(name, set(names))}" for name in read_config(path) if name not in names]
    return said


def _nearest(name: str, candidates: set[str]) -> str:
    match = difflib.get_close_matches(name, candidates, n=1)
    return f"; did you mean {match[0]}?" if match else "; `crewmem config show` lists them"
