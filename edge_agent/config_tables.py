"""Checks one TOML table against its Settings and collects every problem, each with file, line, key, value, allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edge_agent.config_lines import KeyPath
from edge_agent.core.errors import EdgeAgentError
from edge_agent.ports import REQUIRED, Setting

TOML_KINDS: Mapping[type, str] = {
    str: "text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """One thing wrong in a configuration. ``line`` counts from 1; 0: nowhere in particular."""

    file: Path
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else f"{self.file}"
        return f"{where}: {self.key} {self.text}" if self.key else f"{where}: {self.text}"


class ConfigError(EdgeAgentError):
    """A configuration that nothing may be started from; ``problems`` are all that was found."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(slots=True)
class TableReader:
    """Reads tables of one file; what is wrong is kept in ``problems`` and left out of the result."""

    file: Path
    lines: Mapping[KeyPath, int]
    problems: list[ConfigProblem] = field(default_factory=list)
    names: dict[KeyPath, str] = field(default_factory=dict)
    _integers: dict[KeyPath, int] = field(default_factory=dict)
    """Integers that were taken for fractions: a problem shows them as they stand in the file."""

    def add(self, path: KeyPath, text: str) -> None:
        """Note a problem at the line of ``path``, or of the nearest table round it."""
        line = next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), 0)
        self.problems.append(ConfigProblem(file=self.file, line=line, key=self._spell(path), text=text))

    def refuse(self, path: KeyPath, value: object, allowed: str) -> None:
        """Note a value that is not allowed."""
        self.add(path, f"= {self.show_at(path, value)}: allowed: {allowed}")

    def show_at(self, path: KeyPath, value: object) -> str:
        """``value``, which was read at ``path``, as it stands in the file."""
        return show(self._integers.get(path, value))

    def read(self, table: Mapping[str, Any], settings: Mapping[str, Setting], path: KeyPath) -> dict[str, Any]:
        """Values of ``table`` with defaults filled in; whatever has a problem is absent. Any: see ports.Table."""
        for key in table:
            if key not in settings:
                self._unknown((*path, key), table[key], sorted(settings))
        values: dict[str, Any] = {}
        for key, setting in settings.items():
            if key not in table:
                if setting.default is REQUIRED:
                    self.add((*path, key), f"is missing: allowed: {setting.allowed}")
                else:
                    values[key] = setting.default
                continue
            value = self._checked((*path, key), table[key], setting)
            if value is not None:
                values[key] = value
        return values

    def _checked(self, path: KeyPath, value: Any, setting: Setting) -> Any:  # Any: see ports.Table
        if setting.takes_one and isinstance(value, str):
            value = [value]
        is_number = setting.kind is float and type(value) is int
        if type(value) is not setting.kind and not is_number:
            kind = TOML_KINDS.get(setting.kind, setting.kind.__name__)
            self.refuse(path, value, f"{kind}: {setting.allowed}")
            return None
        if is_number:
            value, self._integers[path] = float(value), value
        if setting.accepts is not None and not _is_accepted(setting, value):
            self.refuse(path, value, setting.allowed)
            return None
        if setting.is_path and value and "://" not in value:  # a camera's source may be a URL
            return str(self.file.parent / value)
        return value

    def _unknown(self, path: KeyPath, value: object, known: list[str]) -> None:
        near = get_close_matches(str(path[-1]), known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        self.add(path, f"= {show(value)}: unknown key; {hint}allowed: {', '.join(known)}")

    def _spell(self, path: KeyPath) -> str:
        """link[4g].rate_bps: members of arrays by their name where they have one, else by their number from 1."""
        text = ""
        for end, part in enumerate(path, 1):
            if isinstance(part, int):
                text += f"[{self.names.get(path[:end], f'#{part + 1}')}]"
            else:
                text += f".{part}" if text else part
        return text


def _is_accepted(setting: Setting, value: object) -> bool:
    if setting.accepts is None:
        return True
    try:
        return bool(setting.accepts(value))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return False  # a check that trips over the value refuses it; the operator sees what is allowed


def show(value: object) -> str:
    """A value as it would stand in TOML, cut to one short line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    elif isinstance(value, list):
        text = "[" + ", ".join(show(each) for each in value) + "]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key} = {show(each)}" for key, each in value.items()) + "}"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
