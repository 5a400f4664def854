"""What tells models of a site apart: the id, the framework that serves it, and for whom it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from compute_functions.contract.instances import ModelOutlook
from compute_functions.contract.lifecycle import DesiredModel, ModelDemand


@dataclass(frozen=True, slots=True, order=True)
class ModelKey:
    """One model of the site. An instance whose order is lost has no framework.

    With a `purpose` it is another one than the model that callers use: it has instances, demand and
    bounds of its own.
    """

    model: str
    framework: str = ""
    purpose: str = ""

    @classmethod
    def of(cls, one: DesiredModel | ModelDemand | ModelOutlook) -> Self:
        """Return the key of what is desired, of who wants it, or of what is told of it."""
        return cls(one.model, one.framework, one.purpose)

    @property
    def label(self) -> str:
        """Return how people are told of it."""
        named = f"{self.model} ({self.framework})" if self.framework else self.model
        return f"{named} for {self.purpose}" if self.purpose else named
