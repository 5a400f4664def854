"""Every metric is in the operators' page, and the page names none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from resource_server.adapters.metrics.instruments import Instruments

PAGE = Path(__file__).parents[2] / "docs" / "operators" / "watch-the-gateway.md"
#: What Prometheus makes of a histogram.
_PARTS = re.compile(r"_(bucket|sum|count)$")


def metrics() -> dict[str, tuple[str, ...]]:
    """Return each metric's name as an operator sees it, with its labels."""
    made = vars(Instruments(CollectorRegistry())).values()
    found = {}
    for metric in made:
        for described in metric.describe() if hasattr(metric, "describe") else ():
            name = described.name + ("_total" if described.type == "counter" else "")
            found[name] = metric._labelnames  # noqa: SLF001 - the library shows them nowhere else
    return found


def test_every_metric_stands_in_a_table_with_its_labels():
    rows = re.compile(r"^\| `(hotnode_\w+)` \|[^|]*\|([^|]*)\|", re.MULTILINE)
    table = dict(rows.findall(PAGE.read_text()))
    labels = {name: tuple(re.findall(r"`(\w+)`", cell)) for name, cell in table.items()}
    assert labels == metrics()


def test_queries_and_alerts_name_metrics_that_there_are():
    named = {_PARTS.sub("", name) for name in re.findall(r"\bhotnode_\w+", PAGE.read_text())}
    assert named == set(metrics())


def test_names_follow_prometheus():
    for name in metrics():
        assert re.fullmatch(r"hotnode_[a-z_]+", name)
        assert not re.search(r"_(ms|mb|milliseconds)(_|$)", name)
