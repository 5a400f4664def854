"""What a launcher needs of a model's file: the model's id, its engine, weights and arguments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compute_functions import operator_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The launcher's part of a file of `endpoint_configs/models/`; the rest is the catalog's."""

    file: Path
    id: str
    engine: str
    path: Path
    arguments: tuple[str, ...]


def load(file: Path) -> ModelConfig:
    """Read a model's file; a relative `path` counts from the file's folder."""
    section = operator_yaml.load(file)
    section.names()
    path = (file.absolute().parent / section.text("path")).resolve()
    if not path.is_dir():
        raise section.wrong("path", f"there is no folder {path}")
    return ModelConfig(
        file=file,
        id=section.text("id"),
        engine=section.text("engine"),
        path=path,
        arguments=section.texts("arguments"),
    )
