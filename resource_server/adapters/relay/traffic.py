"""What goes over the links, counted for metrics, and how each link fares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

#: Where a model is served: cluster, framework and model.
Place: TypeAlias = tuple[str, str, str]


class LinkState(StrEnum):
    """How a link fares: it takes requests, takes none any more, or was cut and may come back."""

    READY = "ready"
    DRAINING = "draining"
    PARKED = "parked"


@dataclass(slots=True, kw_only=True)
class Traffic:
    """What went over the links of one place since the process began, frames with all, in bytes.

    `interrupted` are requests that ended with their link.
    """

    to_site: int = 0
    from_site: int = 0
    resumes: int = 0
    interrupted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceHealth:
    """How the links of one place fare: how many are in each state, and the requests on them."""

    place: Place
    links: dict[LinkState, int]
    requests: int
    traffic: Traffic
