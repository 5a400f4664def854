"""Shows the answers that sites push, open and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from resource_server.adapters.metrics.instruments import Instruments
from resource_server.adapters.metrics.samples import Look
from resource_server.adapters.metrics.totals import Totals
from resource_server.adapters.pushed_streams.traffic import Outcome, PushTraffic


def look_at_pushes(
    instruments: Instruments, traffic: Callable[[], Mapping[str, PushTraffic]]
) -> Look:
    """Return a look at what each cluster pushes."""
    totals = Totals()

    def look() -> None:
        for cluster, pushed in traffic().items():
            instruments.pushed_open.labels(cluster).set(pushed.open)
            totals.bring(instruments.pushed_bytes, (cluster,), pushed.received, of=cluster)
            for outcome in Outcome:
                labels = (cluster, outcome.value)
                totals.bring(instruments.pushed, labels, pushed.ended[outcome], of=cluster)

    return look
