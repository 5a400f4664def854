"""The catalog as operators write it: one YAML file per cluster and one per model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from resource_server.adapters.catalog_spec import ModelSpec, SiteSpec
from resource_server.adapters.yaml_document import YamlDocument
from resource_server.domain.errors import CatalogInvalid

SpecT = TypeVar("SpecT", SiteSpec, ModelSpec)
_Read: TypeAlias = list[tuple[YamlDocument, SpecT]]

#: The folder in which each kind of document stands.
FOLDERS: dict[type[SiteSpec | ModelSpec], str] = {SiteSpec: "sites", ModelSpec: "models"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogDocuments:
    """Every cluster and model that the files describe, checked against each other."""

    sites: tuple[SiteSpec, ...]
    models: tuple[ModelSpec, ...]


def fingerprint(directory: Path) -> tuple[tuple[str, int, int], ...]:
    """Return a value that changes when any file that `read` looks at does."""
    paths = [path for folder in FOLDERS.values() for path in _yaml_files(directory, folder)]
    paths += sorted(directory.glob("sites/*.json"))
    stats = [(path, path.stat()) for path in paths if path.exists()]
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)


def read(directory: Path) -> CatalogDocuments:
    """Return what the files say, or raise `CatalogInvalid` with all their mistakes."""
    if not directory.is_dir():
        raise CatalogInvalid((f"{directory}:1: there is no such directory",))
    problems: list[str] = []
    sites = _read_specs(directory, SiteSpec, problems)
    models = _read_specs(directory, ModelSpec, problems)
    problems += _repeated(sites, "cluster")
    problems += _repeated(models, "id")
    if not problems:
        problems += _unknown_places(sites, models)
    if problems:
        raise CatalogInvalid(tuple(problems))
    return CatalogDocuments(
        sites=tuple(spec for _, spec in sites), models=tuple(spec for _, spec in models)
    )


def _yaml_files(directory: Path, kind: str) -> list[Path]:
    return sorted([*directory.glob(f"{kind}/*.yaml"), *directory.glob(f"{kind}/*.yml")])


def _read_specs(directory: Path, spec: type[SpecT], problems: list[str]) -> _Read[SpecT]:
    """Return every document of one kind that is right, and add what is wrong to `problems`."""
    found = []
    for path in _yaml_files(directory, FOLDERS[spec]):
        try:
            document = YamlDocument(path)
            _resolve_functions_file(document)
            found.append((document, document.validate(spec)))
        except CatalogInvalid as invalid:
            problems += invalid.problems
    return found


def _resolve_functions_file(document: YamlDocument) -> None:
    """Replace `functions_file` by the ids in the lock file that `register` wrote."""
    section = document.values.get("globus_compute")
    if not isinstance(section, dict) or "functions_file" not in section:
        return
    location = ("globus_compute", "functions_file")
    path = document.path.parent / str(section.pop("functions_file"))
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
        section["functions"] = {name: entry["id"] for name, entry in lock["functions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} is no lock file of registered functions ({type(error).__name__})"
        raise CatalogInvalid((document.problem(location, message),)) from error


def _repeated(specs: _Read[SpecT], field: str) -> list[str]:
    first: dict[str, Path] = {}
    problems = []
    for document, spec in specs:
        name = getattr(spec, field)
        if name in first:
            problems.append(
                document.problem((field,), f"'{name}' is also described in {first[name]}")
            )
        first.setdefault(name, document.path)
    return problems


def _unknown_places(sites: _Read[SiteSpec], models: _Read[ModelSpec]) -> Iterator[str]:
    known = {(site.cluster, framework) for _, site in sites for framework in site.frameworks}
    for document, model in models:
        for index, place in enumerate(model.deployments):
            if (place.cluster, place.framework) not in known:
                yield document.problem(
                    ("deployments", index),
                    f"no site offers the framework '{place.framework}' "
                    f"on a cluster '{place.cluster}'",
                )
