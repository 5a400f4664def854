"""An answer in one piece, and what came with it."""

from __future__ import annotations

from dataclasses import dataclass

from resource_server.domain.catalog import NamedModel
from resource_server.domain.inference import InferenceAnswer, Usage
from resource_server.domain.limits import Standing
from resource_server.domain.routing import Destination


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The engine's answer, where it came from, what it cost, and what the caller has left.

    `waited_s` is for how long the request waited for its model to be started.
    """

    answer: InferenceAnswer
    named: NamedModel
    destination: Destination
    usage: Usage | None
    standings: tuple[Standing, ...]
    waited_s: float = 0.0
