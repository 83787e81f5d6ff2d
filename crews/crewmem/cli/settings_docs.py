"""docs/settings.md, made from the settings models: `crewmem config docs > docs/settings.md`."""

from __future__ import annotations

import re
from typing import Any

from crewmem_producers.setting_sources import PREFIX
from crewmem_producers.settings import ROLES
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_HEAD = """\
# Settings

<!-- made by `crewmem config docs > docs/settings.md`; do not edit -->

Every setting has one name. `base_url`, for example, is the argument `base_url=`, else `CREWMEM_BASE_URL` in the environment,
else the content of the file that `CREWMEM_BASE_URL_FILE` names (every setting can come from such a file; it is meant for
secrets), else `base_url` in `crewmem.toml`, else its default. `crewmem config show` prints every value and where it comes from.
An unknown name stops the command line and the services, and warns in a crew. What Kubernetes sets for a Service whose name
begins with `crewmem` (`..._SERVICE_HOST`, `..._PORT=tcp://...`) is passed over.

`CREWMEM_BASE_URL` and `CREWMEM_API_KEY` have one more source, before the default: what the `crewmem up` that runs with the same
`CREWMEM_HOME` on the same machine has written there.

`crewmem.toml` is a flat table of the names below without `CREWMEM_`, in lower case:

```toml
base_url = "https://memory.example.com"
session = "project_alpha"
top_k = 5
publish_inputs = ["topic", "market"]
```

The file is the one that `CREWMEM_CONFIG` names, else the nearest `crewmem.toml` going up from the working directory, else
`~/.config/crewmem/crewmem.toml`. Each process takes out of it what it reads: one file does for crews, consumers and services.

| setting | read by | type | default | meaning |
|---|---|---|---|---|
"""


def render() -> str:
    """The whole page, a table row a setting, in the order of the models."""
    fields = {name: field for model in ROLES.values() for name, field in model.model_fields.items()}
    rows = [_row(name, field) for name, field in fields.items()]
    return _HEAD + "\n".join(rows) + "\n"


def _row(name: str, field: FieldInfo) -> str:
    roles = [role for role, model in ROLES.items() if name in model.model_fields]
    read_by = "all" if len(roles) == len(ROLES) else ", ".join(roles)
    cells = (f"`{PREFIX}{name.upper()}`", read_by, _type(field.annotation), _default(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "\\<") for cell in cells) + " |"


def _type(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    text = re.sub(r"typing\.|pathlib\.(_local\.)?|pydantic\.types\.|<class '|'>", "", text).replace(" | None", "")
    if text.startswith("Literal["):
        return " or ".join(f"`{value}`" for value in annotation.__args__)
    words = {
        "str": "text",
        "SecretStr": "secret",
        "int": "whole number",
        "float": "number",
        "Path": "path",
        "list[str]": "JSON list",
    }
    return words.get(text, text)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "this host's name"
    if field.default is PydanticUndefined or field.default is None:
        return ""
    return f"`{field.default}`"
