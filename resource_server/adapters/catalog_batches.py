"""What a site's YAML may say of batches: `batches`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator

from compute_functions.contract.batches import MOST_FILE, MOST_LINES
from resource_server.adapters.catalog_names import ProjectName
from resource_server.adapters.catalog_part import Spec
from resource_server.domain.batch_offer import BatchOffer

_Weight = Annotated[float, Field(gt=0, le=1_000)]


class BatchesSpec(Spec):
    """To whom a site offers batches, and how many. What is left out has the value of `BatchOffer`.

    `groups` are Globus groups. Without any, and without `projects`, it would be for nobody.
    """

    projects: tuple[ProjectName, ...] = ()
    # After the projects, so that it can be held against them.
    groups: tuple[UUID, ...] = Field((), validate_default=True)
    most_active: int = Field(5, ge=1, le=2_000)
    most_lines: int = Field(150_000, ge=1, le=MOST_LINES)
    most_bytes: int = Field(2_000_000_000, ge=1, le=MOST_FILE)
    # Each has a byte at least.
    most_inputs: int | None = Field(None, ge=1, le=MOST_FILE)
    weights: dict[UUID, _Weight] = Field(default_factory=dict)
    project_weights: dict[ProjectName, _Weight] = Field(default_factory=dict)

    @field_validator("groups")
    @classmethod
    def _somebody_is_meant(cls, groups: tuple[UUID, ...], info: ValidationInfo) -> tuple[UUID, ...]:
        # Projects with a mistake of their own are not there, and are not missing.
        if not groups and not info.data.get("projects", True):
            raise ValueError("for whom are batches? Name Globus groups or projects")
        return groups

    def to_domain(self) -> BatchOffer:
        """Return the offer."""
        return BatchOffer(
            groups=frozenset(map(str, self.groups)),
            projects=frozenset(self.projects),
            most_active=self.most_active,
            most_lines=self.most_lines,
            most_bytes=self.most_bytes,
            most_inputs=self.most_inputs,
            weights={str(group): weight for group, weight in self.weights.items()},
            project_weights=self.project_weights,
        )
