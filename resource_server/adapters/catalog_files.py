"""The catalog as operators write it: one YAML file per cluster and one per model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar
from uuid import UUID

from resource_server.adapters import catalog_references
from resource_server.adapters.catalog_references import Written
from resource_server.adapters.catalog_spec import (
    REQUIRED_FUNCTIONS,
    ModelSpec,
    ProjectSpec,
    SiteSpec,
)
from resource_server.adapters.yaml_document import YamlDocument
from resource_server.domain.errors import CatalogInvalid

#: For who has just begun.
BEGIN = "docs/operators/add-a-cluster.md says how to add one."
REGISTER = "docs/operators/add-a-cluster.md says how it is made."
SpecT = TypeVar("SpecT", SiteSpec, ModelSpec, ProjectSpec)
Fingerprint: TypeAlias = tuple[tuple[str, int, int], ...]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that was found in the catalog's files; `documents` lacks what holds mistakes.

    `models` are the ids of all models that the files describe, rightly or not; None if there may
    be others. `clients` are the names of the clusters' Globus clients. `without_effect` is what
    keeps nobody from using the documents, and is not what was meant.
    """

    documents: CatalogDocuments
    problems: tuple[str, ...]
    models: frozenset[str] | None
    clients: Mapping[str, str]
    without_effect: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Folder(Generic[SpecT]):
    """The documents of one kind, and those of them that are right.

    It is not `complete` if there may be documents that cannot be read.
    """

    complete: bool
    documents: list[YamlDocument] = field(default_factory=list)
    specs: list[SpecT] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lock_files: list[Path] = field(default_factory=list)

    @property
    def written(self) -> Written:
        """What stands in the documents."""
        return Written(documents=tuple(self.documents), complete=self.complete)


def fingerprint(directory: Path, lock_files: Iterable[Path] = ()) -> Fingerprint:
    """Return a value that changes when any file that `read` looked at does."""
    paths = [path for folder in FOLDERS.values() for path in _yaml_files(directory, folder)]
    paths += lock_files
    stats = [(path, path.stat()) for path in paths if path.exists()]
    return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)


def read(directory: Path) -> CatalogDocuments:
    """Return what the files say, or raise `CatalogInvalid` with all their mistakes."""
    found = look(directory)
    if found.problems:
        raise CatalogInvalid(found.problems)
    return found.documents


def look(directory: Path) -> Findings:
    """Return what the files say, and all their mistakes."""
    # A folder that is away, as during a remount, must not read as an empty catalog.
    problems = [
        f"{directory / folder}:1: there is no such folder"
        for folder in REQUIRED_FOLDERS
        if not (directory / folder).is_dir()
    ]
    sites = _look_at(directory, SiteSpec)
    models = _look_at(directory, ModelSpec)
    projects = _look_at(directory, ProjectSpec)
    for folder in (sites, models, projects):
        problems += folder.problems
    if not _yaml_files(directory, FOLDERS[SiteSpec]) and (directory / FOLDERS[SiteSpec]).is_dir():
        problems.append(f"{directory / 'sites'}:1: no cluster is described here. {BEGIN}")
    problems += catalog_references.problems(sites.written, models.written, projects.written)
    return Findings(
        documents=CatalogDocuments(
            sites=tuple(sites.specs),
            models=tuple(models.specs),
            projects=tuple(projects.specs),
            lock_files=tuple(sites.lock_files),
        ),
        problems=tuple(problems),
        models=models.written.names("id"),
        clients=catalog_references.clients(sites.written),
        without_effect=tuple(catalog_references.without_effect(sites.written, models.written)),
    )


def _yaml_files(directory: Path, kind: str) -> list[Path]:
    return sorted([*directory.glob(f"{kind}/*.yaml"), *directory.glob(f"{kind}/*.yml")])


def _look_at(directory: Path, spec: type[SpecT]) -> _Folder[SpecT]:
    """Return what the documents of one kind say."""
    name = FOLDERS[spec]
    is_there = name not in REQUIRED_FOLDERS or (directory / name).is_dir()
    folder: _Folder[SpecT] = _Folder(complete=is_there)
    for path in _yaml_files(directory, name):
        try:
            document = YamlDocument(path)
        except CatalogInvalid as invalid:
            folder.problems += invalid.problems
            folder.complete = False
            continue
        folder.documents.append(document)
        folder.problems += _resolve_functions_file(document, folder.lock_files)
        try:
            folder.specs.append(document.validate(spec))
        except CatalogInvalid as invalid:
            folder.problems += invalid.problems
    return folder


def _resolve_functions_file(document: YamlDocument, lock_files: list[Path]) -> list[str]:
    """Replace `functions_file` by the ids in the lock file that it names; return its mistakes."""
    section = document.values.get("globus_compute")
    if not isinstance(section, dict) or "functions_file" not in section:
        return []
    path = document.path.parent / str(section.pop("functions_file"))
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
        section["functions"] = {name: entry["id"] for name, entry in lock["functions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # The other fields are looked at all the same.
        section["functions"] = dict.fromkeys(REQUIRED_FUNCTIONS, str(UUID(int=0)))
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else repr(error)
        message = f"{path} is no lock file of registered functions: {reason}. {REGISTER}"
        return [document.problem(("globus_compute", "functions_file"), message)]
    lock_files.append(path)
    return []
