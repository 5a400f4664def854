"""A YAML file that remembers where each field stands, so that a mistake can be pointed at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from resource_server.adapters import mistakes
from resource_server.domain.errors import CatalogInvalid

SpecT = TypeVar("SpecT", bound=BaseModel)
_Location: TypeAlias = tuple[int | str, ...]
#: How pydantic says that a mistake is in a field's name and not in its value.
_OF_A_KEY = "[key]"


class YamlDocument:
    """One mapping read from a file; `values` may be completed before `validate`.

    Raises `CatalogInvalid` if the file is none, so that nothing else can be said of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = _compose(path)
        if not isinstance(self._root, yaml.MappingNode):
            raise CatalogInvalid((f"{path}:1: the file is not a mapping of fields",))
        try:
            self._duplicates = tuple(self._repeated(self._root))
            self.values: dict[str, Any] = yaml.SafeLoader("").construct_document(self._root)
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
            # A date that is none, a list as a name, a tag of another language, an endless alias.
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            raise CatalogInvalid((f"{path}:{line}: a value cannot be read: {error}",)) from error

    def validate(self, spec: type[SpecT]) -> SpecT:
        """Return the document as `spec`, or raise `CatalogInvalid` with every mistake's place."""
        try:
            valid = spec.model_validate(self.values)
        except ValidationError as error:
            problems = _causes(error.errors(include_url=False))
            raise CatalogInvalid(
                (*self._duplicates, *(self.problem(p["loc"], mistakes.words(p)) for p in problems))
            ) from error
        if self._duplicates:
            raise CatalogInvalid(self._duplicates)
        return valid

    def problem(self, location: _Location, message: str) -> str:
        """Return one mistake as `file:line: field: what is wrong`."""
        field = ".".join(str(part) for part in location if part != _OF_A_KEY) or "document"
        return f"{self.path}:{self._line(location)}: {field}: {message}"

    def _line(self, location: _Location) -> int:
        """Return the line of a field, or of the nearest thing around it that exists."""
        node, line = self._root, 1
        for part in location:
            step = _step(node, part)
            if step is None:
                break
            line, node = step
        return line

    def _repeated(self, node: yaml.Node) -> Iterator[str]:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from self._repeated(item)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    yield f"{self.path}:{key.start_mark.line + 1}: {key.value}: stands here twice"
                seen.add(key.value)
                yield from self._repeated(value)


def _causes(problems: list[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Yield the problems that do not follow from others: a list is not empty if an item is bad."""
    for problem in problems:
        place = problem["loc"]
        inside = (p for p in problems if p is not problem and p["loc"][: len(place)] == place)
        if problem["type"] != mistakes.TOO_SHORT or not any(inside):
            yield problem


def _compose(path: Path) -> yaml.Node | None:
    try:
        return yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CatalogInvalid((f"{path}:{line}: {error.problem}",)) from error
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise CatalogInvalid((f"{path}:1: the file cannot be read: {error}",)) from error


def _step(node: yaml.Node | None, part: int | str) -> tuple[int, yaml.Node] | None:
    """Return line and value of one field or item of a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item.start_mark.line + 1, item
    return None
