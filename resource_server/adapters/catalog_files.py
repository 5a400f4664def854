"""The catalog as operators write it: one YAML file per cluster and one per model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

from resource_server.adapters.catalog_spec import ModelSpec, ProjectSpec, SiteSpec
from resource_server.adapters.yaml_document import YamlDocument
from resource_server.domain.errors import CatalogInvalid
from resource_server.domain.inference import RESERVED_EVERYWHERE

#: For who has just begun.
BEGIN = "docs/operators/add-a-cluster.md says how to add one."
SpecT = TypeVar("SpecT", SiteSpec, ModelSpec, ProjectSpec)
Fingerprint: TypeAlias = tuple[tuple[str, int, int], ...]
_Read: TypeAlias = list[tuple[YamlDocument, SpecT]]

#: The folder in which each kind of document stands.
FOLDERS: dict[type[SiteSpec | ModelSpec | ProjectSpec], str] = {
    SiteSpec: "sites",
    ModelSpec: "models",
    ProjectSpec: "projects",
}
#: Not every centre has projects; without sites and models there is nothing to offer.
REQUIRED_FOLDERS = ("sites", "models")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogDocuments:
    """Every cluster and model that the files describe, checked against each other.

    `lock_files` are the further files that were read.
    """

    sites: tuple[SiteSpec, ...]
    models: tuple[ModelSpec, ...]
    projects: tuple[ProjectSpec, ...] = ()
    lock_files: tuple[Path, ...] = ()


def fingerprint(directory: Path, lock_files: Iterable[Path] = ()) -> Fingerprint:
    """Return a value that changes when any file that `read` looked at does."""
    paths = [path for folder in FOLDERS.values() for path in _yaml_files(directory, folder)]
    paths += lock_files
    stats = [(path, path.stat()) for path in paths if path.exists()]
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)


def read(directory: Path) -> CatalogDocuments:
    """Return what the files say, or raise `CatalogInvalid` with all their mistakes."""
    # A folder that is away, as during a remount, must not read as an empty catalog.
    problems = [
        f"{directory / folder}:1: there is no such folder"
        for folder in REQUIRED_FOLDERS
        if not (directory / folder).is_dir()
    ]
    lock_files: list[Path] = []
    sites = _read_specs(directory, SiteSpec, problems, lock_files)
    models = _read_specs(directory, ModelSpec, problems, lock_files)
    projects = _read_specs(directory, ProjectSpec, problems, lock_files)
    if not sites and not problems:
        problems.append(f"{directory / 'sites'}:1: no cluster is described here. {BEGIN}")
    problems += _repeated(sites, "cluster")
    problems += _repeated(models, "id")
    problems += _repeated(projects, "project")
    problems += _taken_aliases(models)
    if not problems:
        problems += _unknown_places(sites, models)
        problems += _reserved_parameters(sites, models)
        problems += _unknown_models(projects, models)
    if problems:
        raise CatalogInvalid(tuple(problems))
    return CatalogDocuments(
        sites=tuple(spec for _, spec in sites),
        models=tuple(spec for _, spec in models),
        projects=tuple(spec for _, spec in projects),
        lock_files=tuple(lock_files),
    )


def _yaml_files(directory: Path, kind: str) -> list[Path]:
    return sorted([*directory.glob(f"{kind}/*.yaml"), *directory.glob(f"{kind}/*.yml")])


def _read_specs(
    directory: Path, spec: type[SpecT], problems: list[str], lock_files: list[Path]
) -> _Read[SpecT]:
    """Return the documents of one kind that are right; note what is wrong, and other files."""
    found = []
    for path in _yaml_files(directory, FOLDERS[spec]):
        try:
            document = YamlDocument(path)
            lock_files += _resolve_functions_file(document)
            found.append((document, document.validate(spec)))
        except CatalogInvalid as invalid:
            problems += invalid.problems
    return found


def _resolve_functions_file(document: YamlDocument) -> list[Path]:
    """Replace `functions_file` by the ids in the lock file that it names; return its path."""
    section = document.values.get("globus_compute")
    if not isinstance(section, dict) or "functions_file" not in section:
        return []
    location = ("globus_compute", "functions_file")
    path = document.path.parent / str(section.pop("functions_file"))
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
        section["functions"] = {name: entry["id"] for name, entry in lock["functions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path} is no lock file of registered functions ({type(error).__name__})"
        raise CatalogInvalid((document.problem(location, message),)) from error
    return [path]


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


def _taken_aliases(models: _Read[ModelSpec]) -> Iterator[str]:
    """Yield each alias that is another model's id or alias: nobody could tell which is meant."""
    owner = {model.id: document.path for document, model in models}
    for document, model in models:
        for alias in model.aliases:
            first = owner.setdefault(alias, document.path)
            if first != document.path:
                yield document.problem(("aliases", alias), f"'{alias}' also stands in {first}")


def _reserved_parameters(sites: _Read[SiteSpec], models: _Read[ModelSpec]) -> Iterator[str]:
    """Yield each parameter of an alias that a place of its model, or every one, reserves."""
    reserved = {
        (site.cluster, name): framework.reserved_fields
        for _, site in sites
        for name, framework in site.frameworks.items()
    }
    for document, model in models:
        fields = RESERVED_EVERYWHERE.union(
            *(reserved.get((place.cluster, place.framework), ()) for place in model.deployments)
        )
        for alias, spec in model.aliases.items():
            for name in sorted(spec.parameters.keys() & fields):
                yield document.problem(
                    ("aliases", alias, "parameters", name),
                    "this field is reserved where the model is served, so no alias may set it",
                )


def _unknown_models(projects: _Read[ProjectSpec], models: _Read[ModelSpec]) -> Iterator[str]:
    known = {model.id for _, model in models}
    for document, project in projects:
        for name in sorted(project.models - known):
            yield document.problem(("models",), f"no file describes a model '{name}'")
