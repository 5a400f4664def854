"""Operators' YAML files, read so that every complaint names the file, the line and the field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from compute_functions.errors import ConfigurationError, FieldError

_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One mapping of a YAML file; fields are read by type, and an absent one is an error."""

    file: Path
    node: yaml.MappingNode
    prefix: str = ""

    def names(self) -> list[str]:
        """Return the fields' names in the file's order; a repeated name is an error."""
        names: list[str] = []
        for key, _ in self.node.value:
            if key.value in names:
                raise self._error(key, key.value, "stands here twice")
            names.append(key.value)
        return names

    def has(self, name: str) -> bool:
        """Whether the field stands here."""
        return name in self.names()

    def allow(self, *known: str) -> None:
        """Refuse fields that are not `known`: a misspelt one would silently do nothing."""
        self.names()
        for key, _ in self.node.value:
            if key.value not in known:
                raise self._error(key, key.value, f"unknown; known are {', '.join(sorted(known))}")

    def text(self, name: str) -> str:
        """Return a text; a number counts as the text that was written."""
        return self._text(self._node(name), name)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        node = self._node(name)
        if not isinstance(node, yaml.SequenceNode):
            raise self._error(node, name, "must be a list")
        return tuple(self._text(item, f"{name}[{n}]") for n, item in enumerate(node.value))

    def is_list(self, name: str) -> bool:
        """Whether a field that may be a list or a mapping is a list."""
        return isinstance(self._node(name), yaml.SequenceNode)

    def seconds(self, name: str) -> float:
        """Return a number of seconds above zero."""
        value = self._number(name)
        if not 0 < value < float("inf"):
            raise self.wrong(name, "must be a number of seconds above 0")
        return value

    def fraction(self, name: str) -> float:
        """Return a part of a whole: above 0, and at most all of it."""
        value = self._number(name)
        if not 0 < value <= 1:
            raise self.wrong(name, "must be above 0, and at most 1")
        return value

    def number(self, name: str, *, least: float, most: float, unit: str) -> float:
        """Return a number within bounds; `unit` says in a complaint what it counts."""
        value = self._number(name)
        if not least <= value <= most:
            raise self.wrong(name, f"must be from {least:g} to {most:g} ({unit})")
        return value

    def whole_number(self, name: str, *, least: int = 0) -> int:
        """Return a whole number."""
        node = self._node(name)
        try:
            value = int(self._text(node, name))
        except ValueError:
            value = least - 1
        if value < least:
            raise self._error(node, name, f"must be a whole number, {least} or more")
        return value

    def flag(self, name: str) -> bool:
        """Return true or false."""
        node = self._node(name)
        text = self._text(node, name)
        if text not in {"true", "false"}:
            raise self._error(node, name, "must be true or false")
        return text == "true"

    def mapping(self, name: str) -> dict[str, str]:
        """Return names with texts."""
        section = self.section(name)
        return {field: section.text(field) for field in section.names()}

    def section(self, name: str) -> Section:
        """Return a mapping within this one."""
        node = self._node(name)
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, name, "must be a mapping of names to values")
        return Section(file=self.file, node=node, prefix=f"{self.prefix}{name}.")

    def data(self, name: str) -> dict[str, Any]:
        """Return a mapping as YAML means it, with numbers and lists in it."""
        self.section(name)
        loaded: dict[str, Any] = yaml.safe_load(yaml.serialize(self._node(name)))
        return loaded

    def wrong(self, name: str, problem: str) -> FieldError:
        """Return the error for a value whose form is right and whose content is not."""
        return self._error(self._node(name), name, problem)

    def _node(self, name: str) -> yaml.Node:
        for key, value in self.node.value:
            if key.value == name:
                found: yaml.Node = value
                return found
        raise self._error(self.node, name, "is missing")

    def _number(self, name: str) -> float:
        """Return a number; what is none becomes NaN, which is within no bounds."""
        try:
            return float(self.text(name))
        except ValueError:
            return float("nan")

    def _text(self, node: yaml.Node, name: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag == _NULL:
            raise self._error(node, name, "must be a text")
        value: str = node.value
        return value

    def _error(self, node: yaml.Node, name: str, problem: str) -> FieldError:
        line = node.start_mark.line + 1
        return FieldError(self.file, line, self.prefix + name, problem)


def load(file: Path) -> Section:
    """Read the one mapping that `file` must hold."""
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} is not YAML: {error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"{file} does not hold names with values")
    return Section(file=file, node=node)
