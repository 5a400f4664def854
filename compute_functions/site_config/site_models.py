"""The site's own model and engine files, read again when they change."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from compute_functions import engine_config, model_config, operator_yaml
from compute_functions.contract.lifecycle import FOR_BATCHES, DesiredModel
from compute_functions.engine_config import EngineConfig
from compute_functions.errors import ConfigurationError, FieldError
from compute_functions.model_config import OWN, BatchTerms, ModelConfig
from compute_functions.site_config import resolution
from compute_functions.site_config.policy import ModelPolicy
from compute_functions.site_config.resolution import Refusal, Resolution
from compute_functions.site_config.site_file import SiteConfig

#: While some model is refused, all files are read again: what they name may be there by now (s).
READ_AGAIN_S = 30.0

log = logging.getLogger(__name__)

#: Name, time of change and size of every file: when these are the same, so is what they say.
_Signature: TypeAlias = frozenset[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class _Usable:
    """A model's file and its engine's."""

    model: ModelConfig
    engine: EngineConfig


@dataclass(slots=True)
class _Index:
    """What the files say, by the models' ids."""

    usable: defaultdict[str, list[_Usable]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, Refusal] = field(default_factory=dict)
    #: What is wrong with files, for the log.
    complaints: set[str] = field(default_factory=set)


class SiteModels:
    """Resolves desired models. `refresh` reads files, `resolve` does not."""

    def __init__(self, config: SiteConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = config.models
        self._limits = config.limits
        self._takes_batches = config.batches is not None
        self._clock = clock
        self._signature: _Signature = frozenset()
        self._index = _Index()
        self._read_at = clock()

    def refresh(self) -> bool:
        """Read the files if they have changed, and say whether what they mean has.

        A file that is wrong makes its own model refused, and no other.
        """
        signature = _signature(self._policy)
        is_doubtful = bool(self._index.complaints)
        is_old = is_doubtful and self._clock() - self._read_at >= READ_AGAIN_S
        if signature == self._signature and not is_old:
            return False
        self._read_at = self._clock()
        index = _Index()
        for folder in self._policy.model_files:
            for file in sorted(folder.glob("*.yaml")):
                _add(file, self._policy, index)
        for complaint in sorted(index.complaints - self._index.complaints):
            log.warning("%s", complaint)
        before, self._index, self._signature = self._index, index, signature
        return index != before

    @property
    def refused(self) -> Mapping[str, Refusal]:
        """The models, by id, whose files cannot be used, and why."""
        return self._index.refused

    @property
    def usable(self) -> Mapping[str, tuple[str, ...]]:
        """The other models, by id, each with its frameworks."""
        return {
            model: tuple(one.engine.framework for one in found)
            for model, found in self._index.usable.items()
        }

    @property
    def batches_in_vain(self) -> tuple[str, ...]:
        """The models whose files want instances for batches alone, where the site takes none."""
        if self._takes_batches:
            return ()
        found = ((name, one) for name, files in self._index.usable.items() for one in files)
        return tuple(sorted({name for name, one in found if one.model.batch.placement == OWN}))

    def batch_terms(self, model: str, framework: str) -> BatchTerms:
        """Return how a model's batches run; of a model that is not usable nothing is said."""
        found = self._index.usable.get(model, ())
        fitting = [one.model.batch for one in found if one.engine.framework == framework]
        return fitting[0] if fitting else BatchTerms()

    def resolve(self, desired: DesiredModel) -> Resolution | Refusal:
        """Return what the jobs of a model are to be, or why there are none."""
        if unfit := self._unfit(desired.purpose):
            return Refusal(unfit)
        usable = self._index.usable.get(desired.model, [])
        fitting = [one for one in usable if one.engine.framework == desired.framework]
        if not fitting:
            return self._index.refused.get(desired.model) or _unknown(desired, usable)
        if len(fitting) > 1:
            names = ", ".join(sorted(one.model.file.name for one in fitting))
            return Refusal(f"the site has several files of it: {names}")
        return resolution.resolve(
            desired,
            fitting[0].model,
            fitting[0].engine,
            engine_file=self._policy.engine_file(fitting[0].engine.name),
            limits=self._limits,
        )

    def _unfit(self, purpose: str) -> str:
        """Return why the site has no instances for a purpose; nothing if it has."""
        if purpose == FOR_BATCHES and not self._takes_batches:
            return "it is for batches, and the site takes none"
        if purpose not in ("", FOR_BATCHES):
            return f"it is for {purpose}, which this version of the site does not know"
        return ""


def _unknown(desired: DesiredModel, usable: list[_Usable]) -> Refusal:
    if not usable:
        return Refusal("the site has no file of it")
    frameworks = ", ".join(sorted({one.engine.framework for one in usable}))
    return Refusal(f"the site runs it with {frameworks}, not with {desired.framework}")


def _signature(policy: ModelPolicy) -> _Signature:
    files = [file for folder in policy.model_files for file in folder.glob("*.yaml")]
    files += [policy.engine_file(engine) for engine in policy.engines]
    return frozenset(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        status = file.stat()
    except FileNotFoundError:
        return str(file), 0, 0
    return str(file), status.st_mtime_ns, status.st_size


def _add(file: Path, policy: ModelPolicy, index: _Index) -> None:
    """Put one model's file into the index, or the reason why it cannot be used."""
    try:
        section = operator_yaml.load(file)
        name = section.text("id")
        engine = section.text("engine") if section.has("engine") else None
    except ConfigurationError as error:
        index.complaints.add(f"model_file_unreadable {error}")
        return
    if engine not in policy.engines:
        index.refused[name] = Refusal(f"the site does not allow its engine, {engine}")
        return
    try:
        usable = _Usable(
            model_config.load(file, policy.engines_dir),
            engine_config.load(policy.engine_file(engine)),
        )
    except ConfigurationError as error:
        index.complaints.add(f"model_refused model={name} {error}")
        index.refused[name] = Refusal(_without_paths(error))
        return
    if not policy.holds(usable.model.path):
        index.complaints.add(f"model_refused model={name} {usable.model.path} is below no root")
        index.refused[name] = Refusal("its weights lie outside the site's weight_roots")
        return
    index.usable[name].append(usable)


def _without_paths(error: ConfigurationError) -> str:
    """Say which file is wrong where; the whole error stands in the site's log."""
    if isinstance(error, FieldError):
        return f"{error.file.name}, line {error.line}: {error.field} is wrong"
    return "one of the site's files is wrong; its log says which"
