"""Where the values of settings come from: arguments, the environment, files that it names, crewmem.toml, defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from crewmem_producers.compat import tomllib
from crewmem_producers.errors import SettingsError

PREFIX = "CREWMEM_"
CONFIG_VARIABLE = "CREWMEM_CONFIG"
CONFIG_NAME = "crewmem.toml"


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
        return init_settings, env_settings, _FileSource(settings_cls), _TomlSource(settings_cls)


def origin(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Where the setting's value comes from: a variable's name, the file's path, or `default`."""
    variable = PREFIX + name.upper()
    if environ.get(variable):
        return variable
    if environ.get(f"{variable}_FILE"):
        return f"{variable}_FILE"
    path = config_path(environ)
    return str(path) if name in read_config(path) else "default"
