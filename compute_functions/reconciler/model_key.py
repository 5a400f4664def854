"""What tells models of a site apart: the model's id and the framework that serves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from compute_functions.contract.lifecycle import DesiredModel, ModelDemand


@dataclass(frozen=True, slots=True, order=True)
class ModelKey:
    """One model of the site. An instance whose order is lost has no framework."""

    model: str
    framework: str = ""

    @classmethod
    def of(cls, one: DesiredModel | ModelDemand) -> Self:
        """Return the key of what is desired, or of who wants it."""
        return cls(one.model, one.framework)

    @property
    def label(self) -> str:
        """Return how people are told of it."""
        return f"{self.model} ({self.framework})" if self.framework else self.model
