"""The rule file: YAML, read strictly. Whatever is not understood is refused with file, line and reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from crewmem_consumers.errors import RuleError

RESERVED = frozenset({"echo", "limit", "since", "unmatched"})
"""Names that crewmem itself gives as the reason of an outcome."""

_DURATION = re.compile(r"(\d{1,9})\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_NAME = r"^[a-z][a-z0-9_-]{0,39}$"


def _ttl(value: object) -> object:
    if value == "none":
        return None
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("a ttl is a number with s, m, h or d, such as 30d, or none")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


class KeepWith(BaseModel):
    """How a kept span is kept. What a rule leaves out stays as it is without the rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Annotated[str, Field(pattern=_NAME)] | None = None
    summary: Literal["extract", "lead"] = "extract"
    ttl: Annotated[timedelta | None, BeforeValidator(_ttl)] = None
    importance: Annotated[float, Field(ge=0, le=1)] | None = None
    redaction: Literal["secrets", "personal"] = "secrets"
    duplicates: Literal["near", "exact", "keep"] = "near"

    @property
    def sets_ttl(self) -> bool:
        """Whether the rule says anything of the ttl: `none` is for ever, not the default of the kind."""
        return "ttl" in self.model_fields_set


class RuleText(BaseModel):
    """One rule as written."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    name: Annotated[str, Field(pattern=_NAME)]
    when: Annotated[str, Field(min_length=1)] = "true"
    action: Literal["keep", "drop"]
    keep: KeepWith = Field(default=KeepWith(), alias="with")
    why: str = ""


class RuleFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: Literal[1]
    rules: Annotated[list[RuleText], Field(min_length=1)]


class Lines:
    """Where in the file each part of it stands."""

    def __init__(self, root: yaml.Node | None) -> None:
        self._root = root

    def of(self, path: Sequence[int | str]) -> int:
        """Line, from 1, of the deepest part on the path that is there."""
        node, line = self._root, 1 if self._root is None else self._root.start_mark.line + 1
        for step in path:
            node, line = _child(node, step, line)
            if node is None:
                break
        return line


def read(text: str, *, file: str) -> tuple[RuleFile, Lines]:
    """The rules as written, and their lines. Raises RuleError."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_twice(root, file)
        data: Any = yaml.safe_load(text)
    except RuleError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RuleError(f"this is no YAML: {error.problem}", file=file, line=mark.line + 1 if mark else 1) from error
    except (yaml.YAMLError, ValueError) as error:
        raise RuleError(f"this is no YAML: {error}", file=file, line=1) from error
    lines = Lines(root)
    try:
        parsed = RuleFile.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)  # a misspelt name comes before the right one that it lacks
        first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
        raise RuleError(_reason(first["loc"], first["msg"], first["type"]), file=file, line=lines.of(first["loc"])) from error
    _refuse_names(parsed, lines, file)
    return parsed, lines


def _refuse_names(parsed: RuleFile, lines: Lines, file: str) -> None:
    seen: set[str] = set()
    for index, rule in enumerate(parsed.rules):
        line = lines.of(("rules", index, "name"))
        if rule.name in RESERVED:
            raise RuleError(f"{rule.name!r} is a name that crewmem itself uses", file=file, line=line)
        if rule.name in seen:
            raise RuleError(f"there are two rules named {rule.name!r}", file=file, line=line)
        if rule.action == "drop" and rule.keep.model_fields_set:
            raise RuleError("a rule that drops has no `with`", file=file, line=lines.of(("rules", index, "with")))
        seen.add(rule.name)


def _refuse_twice(root: yaml.Node | None, file: str) -> None:
    """YAML's reader lets the last of two equal names win, silently."""
    ahead, known = [root], set()
    while ahead:
        node = ahead.pop()
        if id(node) in known:  # an alias
            continue
        known.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            ahead += node.value
        elif isinstance(node, yaml.MappingNode):
            ahead += [value for _, value in node.value]
            seen: set[str] = set()
            for name, _ in node.value:
                if name.value in seen:
                    raise RuleError(f"{name.value!r} is there twice", file=file, line=name.start_mark.line + 1)
                seen.add(str(name.value))


def _child(node: yaml.Node | None, step: int | str, line: int) -> tuple[yaml.Node | None, int]:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == step:
                return value, name.start_mark.line + 1
    return None, line


def _reason(location: tuple[int | str, ...], message: str, kind: str) -> str:
    where = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        return f"there is no field {where!r}"
    return f"{where}: {message.removeprefix('Value error, ')}" if where else message
