"""Shows how many batches there are, how they end, and how many of their lines are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from resource_server.adapters.metrics.instruments import Instruments
from resource_server.domain.batches import ACTIVE, Batch


class BatchMetrics:
    """A `batch_ports.BatchObserver`."""

    def __init__(self, instruments: Instruments) -> None:
        self._all = instruments

    def live(self, cluster: str, batches: Collection[Batch]) -> None:
        """Show how many of a cluster's batches have each status."""
        found = Counter(batch.status for batch in batches)
        for status in ACTIVE:
            self._all.batches.labels(cluster, status).set(found[status])

    def changed(self, before: Batch, after: Batch) -> None:
        """Count an end, and lines that are done since.

        A site that lost a batch does its lines anew; they are counted when there are more.
        """
        if after.status.final and not before.status.final:
            self._all.batches_ended.labels(after.cluster, after.status).inc()
        lines = self._all.batch_lines
        for outcome in ("completed", "failed"):
            done: int = getattr(after, outcome) - getattr(before, outcome)
            if done > 0:
                lines.labels(after.cluster, after.order.model, outcome).inc(done)
