"""The limits as operators write them: `limits.yaml` beside the sites and models."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from resource_server.adapters.yaml_document import YamlDocument
from resource_server.config import LARGEST_BODY_BYTES
from resource_server.domain.errors import CatalogInvalid
from resource_server.domain.limit_rules import Allowance, LimitRules, ModelAllowance

FILE = "limits.yaml"
#: 0 is no limit. Beyond a thousand million the arithmetic would lose single tokens.
Amount: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)]
#: A body without a bound could fill the process, so there is no value for "no limit".
Size: TypeAlias = Annotated[int, Field(strict=True, gt=0, le=LARGEST_BODY_BYTES)]
_Fingerprint: TypeAlias = tuple[int, int] | None


class _Spec(BaseModel):
    """A part of the document: a field that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelLimitsSpec(_Spec):
    """What one person may ask of one model."""

    requests_per_minute: Amount | None = None
    tokens_per_minute: Amount | None = None
    concurrent_requests: Amount | None = None

    def to_domain(self) -> ModelAllowance:
        """Return the rule."""
        return ModelAllowance(
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            concurrent_requests=self.concurrent_requests,
        )


class PersonLimitsSpec(_Spec):
    """What one person may ask for."""

    requests_per_minute: Amount | None = None
    requests_per_minute_per_key: Amount | None = None
    tokens_per_minute: Amount | None = None
    tokens_per_minute_per_model: Amount | None = None
    concurrent_requests: Amount | None = None
    batch_requests_per_minute: Amount | None = None
    max_body_bytes: Size | None = None
    max_upload_bytes: Size | None = None
    models: dict[str, ModelLimitsSpec] = {}

    def to_domain(self) -> Allowance:
        """Return the rule."""
        return Allowance(
            requests_per_minute=self.requests_per_minute,
            requests_per_minute_per_key=self.requests_per_minute_per_key,
            tokens_per_minute=self.tokens_per_minute,
            tokens_per_minute_per_model=self.tokens_per_minute_per_model,
            concurrent_requests=self.concurrent_requests,
            batch_requests_per_minute=self.batch_requests_per_minute,
            max_body_bytes=self.max_body_bytes,
            max_upload_bytes=self.max_upload_bytes,
            models={name: spec.to_domain() for name, spec in self.models.items()},
        )


class LimitsSpec(_Spec):
    """The document. `models` says for everybody what `default` may say too."""

    default: PersonLimitsSpec = PersonLimitsSpec()
    groups: dict[UUID, PersonLimitsSpec] = {}
    models: dict[str, ModelLimitsSpec] = {}
    people: dict[str, PersonLimitsSpec] = {}

    @field_validator("groups", "people", mode="before")
    @classmethod
    def _once_each(cls, rules: object) -> object:
        """Refuse one name in two spellings: one of its rules would silently do nothing."""
        if isinstance(rules, dict) and len({str(name).lower() for name in rules}) < len(rules):
            raise ValueError("a name stands here twice, in capital and in small letters")
        return rules

    # Of a field and not of the whole, which is looked at when all its fields are right.
    @field_validator("models")
    @classmethod
    def _one_place_for_models(
        cls, models: dict[str, ModelLimitsSpec], info: ValidationInfo
    ) -> dict[str, ModelLimitsSpec]:
        default = info.data.get("default", PersonLimitsSpec())
        if twice := sorted(models.keys() & default.models.keys()):
            raise ValueError(f"'{twice[0]}' also stands in default.models")
        return models

    def to_domain(self, base: Allowance) -> LimitRules:
        """Return the rules; `base` counts where the document says nothing."""
        models = self.default.models | self.models
        default = self.default.model_copy(update={"models": models})
        return LimitRules(
            defaults=(default.to_domain(), base),
            groups={str(group): spec.to_domain() for group, spec in self.groups.items()},
            people={username: spec.to_domain() for username, spec in self.people.items()},
        )


class LimitsFile:
    """A `ports.LimitSource`: settings for all, and a file that need not be there."""

    def __init__(self, directory: Path, base: Allowance) -> None:
        self._path = directory / FILE
        self._base = base
        self._taken: _Fingerprint = None
        self._candidate: _Fingerprint = None
        self._loaded = False

    async def load(self) -> LimitRules | None:
        """Return the rules if they changed; see `ports.LimitSource`.

        A file that has just changed is left until the next look, and taken if it is the same
        then: an editor may be in the middle of it.
        """
        return await asyncio.to_thread(self._load)

    def _load(self) -> LimitRules | None:
        seen = _fingerprint(self._path)
        if self._loaded:
            # A directory that is away, as during a remount, says nothing about its files.
            if seen == self._taken or not self._path.parent.is_dir():
                return None
            if seen != self._candidate:
                self._candidate = seen
                return None
        spec = YamlDocument(self._path).validate(LimitsSpec) if seen else LimitsSpec()
        self._taken, self._loaded = seen, True
        return spec.to_domain(self._base)


def check(directory: Path) -> None:
    """Raise `CatalogInvalid` if a directory's `limits.yaml` holds mistakes."""
    if found := problems(directory):
        raise CatalogInvalid(found)


def problems(directory: Path, *, models: Collection[str] | None = None) -> tuple[str, ...]:
    """Return all mistakes in a directory's `limits.yaml`.

    To name a model that is not among `models` is one, where these are given.
    """
    path = directory / FILE
    if not path.exists():
        return ()
    try:
        document = YamlDocument(path)
    except CatalogInvalid as invalid:
        return invalid.problems
    unknown = () if models is None else tuple(_unknown_models(document, models))
    try:
        document.validate(LimitsSpec)
    except CatalogInvalid as invalid:
        return (*invalid.problems, *unknown)
    return unknown


def _unknown_models(document: YamlDocument, models: Collection[str]) -> Iterator[str]:
    """Yield each model that is named and not described, whatever else is wrong there."""
    rules: list[tuple[tuple[str, ...], object]] = [
        ((), document.values),
        (("default",), document.values.get("default")),
        *(
            ((section, name), rule)
            for section in ("groups", "people")
            for name, rule in _fields(document.values.get(section)).items()
        ),
    ]
    for place, rule in rules:
        for name in _fields(_fields(rule).get("models")):
            if name not in models:
                yield document.problem(
                    (*place, "models", name), f"no file describes a model '{name}'"
                )


def _fields(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _fingerprint(path: Path) -> _Fingerprint:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CatalogInvalid((f"{path}:1: the file cannot be read: {error}",)) from error
    return (stat.st_mtime_ns, stat.st_size)
