"""What is counted of batches."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import CollectorRegistry

from compute_functions.contract.batches import BatchState
from resource_server.adapters.metrics.batches import BatchMetrics
from resource_server.adapters.metrics.instruments import Instruments
from resource_server.domain import batch_progress
from tests.support.batch_rows import NOW, batch, report


def test_statuses_ends_and_lines_are_counted():
    registry = CollectorRegistry()
    metrics = BatchMetrics(Instruments(registry))
    one, other = batch(), batch()
    running = batch_progress.taken(
        one, report(one, BatchState.RUNNING, completed=2, failed=1), now=NOW
    )
    metrics.live("site", [running, other])
    metrics.changed(one, running)
    over = batch_progress.taken(
        running, report(one, BatchState.COMPLETED, completed=5, failed=1), now=NOW
    )
    metrics.changed(running, over)
    # A site that begins anew does not take back what was counted.
    metrics.changed(over, replace(over, report=report(one, BatchState.RUNNING)))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"cluster": "site"} | labels)

    assert value("hotnode_batches", status="in_progress") == 1
    assert value("hotnode_batches", status="validating") == 1
    assert value("hotnode_batches", status="cancelling") == 0
    assert value("hotnode_batches_ended_total", status="completed") == 1
    lines = "hotnode_batch_lines_total"
    assert value(lines, model="org/tiny", outcome="completed") == 5
    assert value(lines, model="org/tiny", outcome="failed") == 1
    metrics.live("site", [])
    assert value("hotnode_batches", status="in_progress") == 0
