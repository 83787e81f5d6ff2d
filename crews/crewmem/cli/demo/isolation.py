"""The demo's own settings: nothing of the caller's reaches it, and nothing of it reaches the caller's memory."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from crewmem_producers.setting_sources import CONFIG_VARIABLE, PREFIX


def isolate(folder: Path, environ: MutableMapping[str, str] = os.environ) -> None:
    """Takes every crewmem setting out of the environment, and gives CrewAI a folder of the demo's for what it keeps."""
    for name in [name for name in environ if name.startswith(PREFIX)]:
        del environ[name]
    (folder / "empty.toml").touch()
    environ[CONFIG_VARIABLE] = str(folder / "empty.toml")
    environ["CREWMEM_HOME"] = str(folder / "home")
    (folder / "tmp").mkdir()
    environ["TMPDIR"] = str(folder / "tmp")  # where CrewAI leaves lock files
    environ["CREWAI_STORAGE_DIR"] = str(folder / "crewai")
    environ["CREWAI_DISABLE_TELEMETRY"] = "true"
    environ["OTEL_SDK_DISABLED"] = "true"


def crew_environment(url: str, key_file: Path, home: Path) -> dict[str, str]:
    """What a crew's process needs: where the service is, its key, and a home of its own, as on another machine."""
    return {**os.environ, "CREWMEM_BASE_URL": url, "CREWMEM_API_KEY_FILE": str(key_file), "CREWMEM_HOME": str(home)}
