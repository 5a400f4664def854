"""The series of one metric, found faster than by its labels, and never more than a limit."""

from __future__ import annotations

from typing import Generic, TypeVar

from prometheus_client.metrics import MetricWrapperBase

M = TypeVar("M", bound=MetricWrapperBase)

#: Far more than code and catalog can name: whatever is wrong, memory stays bounded.
MOST_SERIES = 10_000
#: Every label of the series that takes what came after that.
OVERFLOW = "_overflow"


class Series(Generic[M]):
    """Finds a metric's series by the values of its labels, in their order."""

    def __init__(self, metric: M, *, most: int = MOST_SERIES) -> None:
        self._metric = metric
        self._most = most
        self._known: dict[tuple[str, ...], M] = {}

    def of(self, *labels: str) -> M:
        """Return the series of these values."""
        known = self._known.get(labels)
        if known is not None:
            return known
        if len(self._known) >= self._most:
            return self._metric.labels(*(OVERFLOW for _ in labels))
        made = self._known[labels] = self._metric.labels(*labels)
        return made
