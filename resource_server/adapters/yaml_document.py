"""A YAML file that remembers where each field stands, so that a mistake can be pointed at."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from resource_server.adapters import mistakes
from resource_server.domain.errors import CatalogInvalid

SpecT = TypeVar("SpecT", bound=BaseModel)


class YamlDocument:
    """One mapping read from a file; `values` may be completed before `validate`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = _compose(path)
        if not isinstance(self._root, yaml.MappingNode):
            raise CatalogInvalid((f"{path}:1: the file is not a mapping of fields",))
        try:
            self._refuse_duplicates(self._root)
            self.values: dict[str, Any] = yaml.SafeLoader("").construct_document(self._root)
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
            # A date that is none, a list as a name, a tag of another language, an endless alias.
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            raise CatalogInvalid((f"{path}:{line}: a value cannot be read: {error}",)) from error

    def validate(self, spec: type[SpecT]) -> SpecT:
        """Return the document as `spec`, or raise `CatalogInvalid` with every mistake's place."""
        try:
            return spec.model_validate(self.values)
        except ValidationError as error:
            raise CatalogInvalid(
                tuple(
                    self.problem(problem["loc"], mistakes.words(problem))
                    for problem in error.errors(include_url=False)
                )
            ) from error

    def problem(self, location: tuple[int | str, ...], message: str) -> str:
        """Return one mistake as `file:line: field: what is wrong`."""
        field = ".".join(str(part) for part in location) or "document"
        return f"{self.path}:{self._line(location)}: {field}: {message}"

    def _line(self, location: tuple[int | str, ...]) -> int:
        """Return the line of a field, or of the nearest thing around it that exists."""
        node, line = self._root, 1
        for part in location:
            step = _step(node, part)
            if step is None:
                break
            line, node = step
        return line

    def _refuse_duplicates(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._refuse_duplicates(item)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise CatalogInvalid((f"{self.path}:{line}: {key.value}: stands here twice",))
                seen.add(key.value)
                self._refuse_duplicates(value)


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
