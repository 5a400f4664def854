"""What the catalog's files say of each other: names that are taken, places that nobody offers.

It looks at what is written and not at what is valid, so that a file with another mistake is
looked at too, and is not missed by those that name it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from resource_server.adapters.relay_keys import key_bytes
from resource_server.adapters.yaml_document import YamlDocument
from resource_server.domain.inference import RESERVED_EVERYWHERE

_Place: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The documents of one kind; not `complete` if there is a file that nothing can be read of."""

    documents: tuple[YamlDocument, ...] = ()
    complete: bool = True

    def names(self, field: str) -> frozenset[str] | None:
        """Return what all documents say in one field; None if a file may say more."""
        found = (document.values.get(field) for document in self.documents)
        return frozenset(_texts(found)) if self.complete else None


def problems(sites: Written, models: Written, projects: Written) -> Iterator[str]:
    """Yield every mistake that shows when all documents are looked at together."""
    yield from _repeated(sites, "cluster")
    yield from _repeated(models, "id")
    yield from _repeated(projects, "project")
    yield from _shared_keys(sites)
    yield from _taken_aliases(models)
    if sites.complete and sites.documents:
        yield from _unknown_places(sites, models)
        yield from _batches_in_vain(sites, models)
    yield from _reserved_parameters(sites, models)
    yield from _kept_by_nobody(sites, models)
    if (known := models.names("id")) is not None:
        yield from _unknown_models(projects, known)
    if (named := projects.names("project")) is not None:
        yield from _unknown_projects(sites, named)


def without_effect(sites: Written, models: Written) -> Iterator[str]:
    """Yield what is no mistake and of no use: models offered for batches that nobody keeps."""
    taking = _taking_batches(sites)
    for document in models.documents:
        places = [(index, name) for index, (name, _) in _deployments(document) if name in taking]
        offered = places and "B" in _items(document.values.get("flags"))
        if offered and not any(_is_kept(document, index) for index, _ in places):
            names = ", ".join(sorted({name for _, name in places}))
            yield document.problem(
                ("flags",),
                f"B: nobody keeps the model at {names}: it needs a lifecycle there, "
                "or its batches are refused",
            )


def clients(sites: Written) -> dict[str, str]:
    """Return the name of each cluster's Globus client."""
    found = {}
    for document in sites.documents:
        cluster = document.values.get("cluster")
        client = _fields(document.values.get("globus_compute")).get("client")
        if isinstance(cluster, str) and isinstance(client, str):
            found[cluster] = client
    return found


def _repeated(written: Written, field: str) -> Iterator[str]:
    first: dict[str, Path] = {}
    for document in written.documents:
        for name in _texts([document.values.get(field)]):
            if name in first:
                yield document.problem((field,), f"'{name}' is also described in {first[name]}")
            first.setdefault(name, document.path)


def _shared_keys(sites: Written) -> Iterator[str]:
    """Yield each site with another one's key: either could speak for both of their clusters."""
    first: dict[bytes, Path] = {}
    for document in sites.documents:
        for text in _texts([_fields(document.values.get("relay")).get("public_key")]):
            # Its bytes, which can be spelled in several ways. What is no key is told elsewhere.
            key = key_bytes(text)
            if key in first:
                place = ("relay", "public_key")
                yield document.problem(place, f"the same key stands in {first[key]}")
            elif key is not None:
                first[key] = document.path


def _taken_aliases(models: Written) -> Iterator[str]:
    """Yield each alias that is another model's id or alias: nobody could tell which is meant."""
    owner = {
        name: document.path
        for document in models.documents
        for name in _texts([document.values.get("id")])
    }
    for document in models.documents:
        for alias in _texts(_fields(document.values.get("aliases"))):
            first = owner.setdefault(alias, document.path)
            if first != document.path:
                yield document.problem(("aliases", alias), f"'{alias}' also stands in {first}")


def _unknown_places(sites: Written, models: Written) -> Iterator[str]:
    known = {place for document in sites.documents for place in _frameworks(document)}
    for document in models.documents:
        for index, (cluster, framework) in _deployments(document):
            if (cluster, framework) not in known:
                yield document.problem(
                    ("deployments", index),
                    f"no site offers the framework '{framework}' on a cluster '{cluster}'",
                )


def _reserved_parameters(sites: Written, models: Written) -> Iterator[str]:
    """Yield each parameter of an alias that a place of its model, or every one, reserves."""
    reserved = {
        place: frozenset(_texts(_items(framework.get("reserved_fields"))))
        for document in sites.documents
        for place, framework in _frameworks(document).items()
    }
    for document in models.documents:
        places = (reserved.get(place, frozenset()) for _, place in _deployments(document))
        fields = RESERVED_EVERYWHERE.union(*places)
        for alias, spec in _fields(document.values.get("aliases")).items():
            for name in sorted(fields & _fields(_fields(spec).get("parameters")).keys()):
                yield document.problem(
                    ("aliases", alias, "parameters", name),
                    "this field is reserved where the model is served, so no alias may set it",
                )


def _kept_by_nobody(sites: Written, models: Written) -> Iterator[str]:
    """Yield each place where a model is to be kept, and nobody can be told so."""
    deaf = {
        document.values.get("cluster")
        for document in sites.documents
        if not document.values.get("relay") and not document.values.get("globus_compute")
    }
    for document in models.documents:
        places = _items(document.values.get("deployments"))
        for index, (cluster, _) in _deployments(document):
            own = _fields(places[index]).get("lifecycle")
            if cluster in deaf and (own or document.values.get("lifecycle")):
                yield document.problem(
                    ("deployments", index),
                    f"lifecycle: '{cluster}' has neither relay nor globus_compute: "
                    "nobody there can be told to start it",
                )


def _batches_in_vain(sites: Written, models: Written) -> Iterator[str]:
    """Yield each model whose batches are to have instances of their own that nobody would start."""
    taking = _taking_batches(sites)
    for document in models.documents:
        if _fields(document.values.get("batch")).get("placement") == "own":
            yield from _own_in_vain(document, taking)


def _taking_batches(sites: Written) -> frozenset[str]:
    taking = (document.values for document in sites.documents if document.values.get("batches"))
    return frozenset(_texts(values.get("cluster") for values in taking))


def _own_in_vain(document: YamlDocument, taking: Collection[object]) -> Iterator[str]:
    places = [(index, name) for index, (name, _) in _deployments(document) if name in taking]
    if not places:
        yield document.problem(
            ("batch", "placement"),
            "own: no cluster of the model takes batches: the site's file needs batches",
        )
    for index, name in places:
        if not _is_kept(document, index):
            yield document.problem(
                ("deployments", index),
                f"batch: placement: own needs a lifecycle at '{name}': without one nobody "
                "starts instances there",
            )


def _is_kept(document: YamlDocument, index: int) -> bool:
    own = _fields(_items(document.values.get("deployments"))[index]).get("lifecycle")
    return bool(own or document.values.get("lifecycle"))


def _unknown_models(projects: Written, known: frozenset[str]) -> Iterator[str]:
    for document in projects.documents:
        for name in sorted(set(_texts(_items(document.values.get("models")))) - known):
            yield document.problem(("models",), f"no file describes a model '{name}'")


def _unknown_projects(sites: Written, known: frozenset[str]) -> Iterator[str]:
    """Yield each project of a site's batches that there is not: its members would have none."""
    for document in sites.documents:
        batches = _fields(document.values.get("batches"))
        for field, named in (
            ("projects", _items(batches.get("projects"))),
            ("project_weights", _fields(batches.get("project_weights"))),
        ):
            for name in sorted(set(_texts(named)) - known):
                yield document.problem(("batches", field), f"no file describes a project '{name}'")


def _frameworks(document: YamlDocument) -> dict[_Place, Mapping[str, Any]]:
    """Return what a site says of each place that it offers."""
    frameworks = _fields(document.values.get("frameworks"))
    cluster = document.values.get("cluster")
    return {(str(cluster), name): _fields(spec) for name, spec in frameworks.items()}


def _deployments(document: YamlDocument) -> Iterator[tuple[int, _Place]]:
    """Yield each place of a model, and which one it is in the list."""
    for index, item in enumerate(_items(document.values.get("deployments"))):
        cluster, framework = _fields(item).get("cluster"), _fields(item).get("framework")
        if isinstance(cluster, str) and isinstance(framework, str):
            yield index, (cluster, framework)


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _texts(values: Iterable[object]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))
