"""Where the values of settings come from: arguments, the environment, files that it names, crewmem.toml, defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from crewmem_producers.compat import tomllib
from crewmem_producers.errors import SettingsError

PREFIX = "CREWMEM_"
CONFIG_VARIABLE = "CREWMEM_CONFIG"
CONFIG_NAME = "crewmem.toml"

_OF_SERVICE = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def kubernetes_names(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Variables that Kubernetes sets in each pod for a Service whose name begins with `crewmem`: they are no settings.

    For a Service `crewmem-recall` these are CREWMEM_RECALL_SERVICE_HOST, CREWMEM_RECALL_SERVICE_PORT, CREWMEM_RECALL_PORT
    (`tcp://10.0.0.7:8765`) and more. Only where these three are there is a name taken for one of them: a typing error is not.
    """
    services = {
        name.removesuffix("_PORT")
        for name, value in environ.items()
        if name.startswith("CREWMEM") and name.endswith("_PORT") and _SERVICE_ADDRESS.match(value)
    }
    whole = [service for service in services if {f"{service}_SERVICE_HOST", f"{service}_SERVICE_PORT"} <= environ.keys()]
    return frozenset(
        name for name in environ for service in whole if name.startswith(service) and _OF_SERVICE.fullmatch(name, len(service))
    )


def config_path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """CREWMEM_CONFIG, else the nearest crewmem.toml going up from the working directory, else the user's. None: no file."""
    if named := environ.get(CONFIG_VARIABLE):
        path = Path(named).expanduser()
        if not path.is_file():
            raise SettingsError(f"{CONFIG_VARIABLE} names {path}, and there is no such file")
        return path
    here = Path.cwd()
    user = Path(environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "crewmem"
    candidates = [folder / CONFIG_NAME for folder in (here, *here.parents, user)]
    return next((path for path in candidates if path.is_file()), None)


def read_config(path: Path | None) -> dict[str, Any]:
    """The settings in that file, a flat table. Raises SettingsError for what is no TOML."""
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error


class _FileSource(PydanticBaseSettingsSource):
    """CREWMEM_<NAME>_FILE: the content of the file it names, white space at the end removed."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        if not path:
            return None, field_name, False
        try:
            return Path(path).expanduser().read_text("utf-8").rstrip(), field_name, False
        except (OSError, ValueError) as error:
            raise SettingsError(f"{PREFIX}{field_name.upper()}_FILE cannot be read: {error}") from error

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class _TomlSource(PydanticBaseSettingsSource):
    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        table = read_config(config_path())
        return {name: value for name, value in table.items() if name in self.settings_cls.model_fields}


class SourcedSettings(BaseSettings):
    """A model whose fields are read from these sources, the first that has a value counts."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        if isinstance(env_settings, EnvSettingsSource):
            others = {name.lower() for name in kubernetes_names()}
            env_settings.env_vars = {name: value for name, value in env_settings.env_vars.items() if name.lower() not in others}
        return init_settings, env_settings, _FileSource(settings_cls), _TomlSource(settings_cls)


def origin(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Where the setting's value comes from: a variable's name, the file's path, or `default`."""
    variable = PREFIX + name.upper()
    if environ.get(variable) and variable not in kubernetes_names(environ):
        return variable
    if environ.get(f"{variable}_FILE"):
        return f"{variable}_FILE"
    path = config_path(environ)
    return str(path) if name in read_config(path) else "default"
