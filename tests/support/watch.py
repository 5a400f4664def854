"""How a gateway made for a test is watched, and what its page of metrics says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from resource_server.adapters.metrics.instrumentation import Instrumentation
from resource_server.ports import RequestObserver

METRICS_TOKEN = "a-token-for-metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The metrics of one gateway, the token for them, and who makes traces."""

    instrumentation: Instrumentation = field(default_factory=Instrumentation)
    token: str | None = METRICS_TOKEN
    tracer: RequestObserver | None = None


class Scrape:
    """One reading of a page of metrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {f.name: f for f in text_string_to_metric_families(text)}

    @classmethod
    async def of(cls, url: str) -> Scrape:
        """Read the page of a gateway."""
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{url}/metrics", headers=headers) as r,
        ):
            assert r.status == 200, await r.text()
            return cls(await r.text())

    def value(self, name: str, **labels: str) -> float:
        """Return the value of one series; 0 if it is not there."""
        found = [v for all_labels, v in self.series(name) if labels.items() <= all_labels.items()]
        assert len(found) <= 1, f"{name}{labels} is {len(found)} series"
        return found[0] if found else 0.0

    def series(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield the labels and the value of each series of this name."""
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == name:
                    yield sample.labels, sample.value
