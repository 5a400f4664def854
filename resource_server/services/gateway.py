"""Everything the gateway can be asked, in one value that the routes are handed."""

from __future__ import annotations

from dataclasses import dataclass

from resource_server.ports import RequestObserver
from resource_server.services.batches import Batches
from resource_server.services.catalog import LiveCatalog
from resource_server.services.completions import Completions
from resource_server.services.files import Files
from resource_server.services.jobs import Jobs
from resource_server.services.limits import Limits
from resource_server.services.metrics import Metrics
from resource_server.services.models import Models
from resource_server.services.readiness import Readiness
from resource_server.services.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The services, opened and ready.

    Without `metrics` nobody may read them. `observer` is told of every request.
    """

    batches: Batches
    catalog: LiveCatalog
    completions: Completions
    files: Files
    jobs: Jobs
    limits: Limits
    models: Models
    readiness: Readiness
    tokens: Tokens
    metrics: Metrics | None = None
    observer: RequestObserver | None = None
