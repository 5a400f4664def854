"""What a site's YAML may say of batches: `batches`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from compute_functions.contract.batches import MOST_FILE, MOST_LINES
from resource_server.adapters.catalog_part import Spec
from resource_server.domain.batch_offer import BatchOffer


class BatchesSpec(Spec):
    """To whom a site offers batches, and how many. What is left out has the value of `BatchOffer`.

    `groups` are Globus groups: an empty list would offer batches to nobody.
    """

    groups: tuple[UUID, ...]
    most_active: int = Field(5, ge=1, le=2_000)
    most_lines: int = Field(150_000, ge=1, le=MOST_LINES)
    most_bytes: int = Field(2_000_000_000, ge=1, le=MOST_FILE)
    weights: dict[UUID, Annotated[float, Field(gt=0, le=1_000)]] = Field(default_factory=dict)

    @field_validator("groups")
    @classmethod
    def _somebody_is_meant(cls, groups: tuple[UUID, ...]) -> tuple[UUID, ...]:
        if not groups:
            raise ValueError("for whom are batches? Name Globus groups")
        return groups

    def to_domain(self) -> BatchOffer:
        """Return the offer."""
        return BatchOffer(
            groups=frozenset(map(str, self.groups)),
            most_active=self.most_active,
            most_lines=self.most_lines,
            most_bytes=self.most_bytes,
            weights={str(group): weight for group, weight in self.weights.items()},
        )
