"""What a launcher needs of a model's file: id, routes, engine, weights and arguments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compute_functions import operator_yaml
from compute_functions.errors import ConfigurationError
from compute_functions.operator_yaml import Section

#: What a model serves whose file does not say; the gateway's catalog has the same.
ROUTES = ("chat/completions", "completions")
_ENGINES = "{engines_dir}"
#: Where batches run: on the model's instances beside its callers, or on some of their own.
SHARED, OWN = "shared", "own"
#: How those of their own are kept: the gateway's catalog says so, from the same file.
_KEPT = ("max", "walltime", "idle_timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTerms:
    """How a model's batches run, beside the requests of callers.

    While callers use an instance, batches get at most `share` of it, None for what the site says.
    Never more than `concurrency` lines are under way; None for what the engine takes. With the
    `placement` `OWN` they run on instances that no caller uses, if the gateway wants some.
    """

    placement: str = SHARED
    share: float | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The launcher's part of a file of `endpoint_configs/models/`; the rest is the catalog's."""

    file: Path
    id: str
    engine: str
    routes: tuple[str, ...]
    path: Path
    arguments: tuple[str, ...]
    copy_weights: bool = False
    batch: BatchTerms = BatchTerms()


def load(file: Path, engines_dir: Path | None = None) -> ModelConfig:
    """Read a model's file.

    A relative `path` counts from the file's folder; `{engines_dir}` in it is where engines are
    installed, for weights that come with one.
    """
    section = operator_yaml.load(file)
    path = _weights(section, file, engines_dir)
    return ModelConfig(
        file=file,
        id=section.text("id"),
        engine=section.text("engine"),
        routes=section.texts("routes") if "routes" in section.names() else ROUTES,
        path=path,
        arguments=section.texts("arguments") if "arguments" in section.names() else (),
        copy_weights="copy_weights" in section.names() and section.flag("copy_weights"),
        batch=_batch(section.section("batch")) if section.has("batch") else BatchTerms(),
    )


def _batch(section: Section) -> BatchTerms:
    section.allow(*BatchTerms.__slots__, *_KEPT)
    return BatchTerms(
        placement=_placement(section) if section.has("placement") else SHARED,
        share=section.fraction("share") if section.has("share") else None,
        concurrency=(
            section.whole_number("concurrency", least=1) if section.has("concurrency") else None
        ),
    )


def _placement(section: Section) -> str:
    text = section.text("placement")
    if text not in (SHARED, OWN):
        raise section.wrong("placement", f"{text!r} is unknown; known are {SHARED} and {OWN}")
    return text


def _weights(section: Section, file: Path, engines_dir: Path | None) -> Path:
    text = section.text("path")
    if _ENGINES in text and engines_dir is None:
        raise ConfigurationError(
            f"{file}: path names {_ENGINES}: give --engines-dir or set HOTNODE_ENGINES_DIR"
        )
    path = (file.absolute().parent / text.replace(_ENGINES, str(engines_dir))).resolve()
    if not path.is_dir():
        raise section.wrong("path", f"there is no folder {path}")
    return path
