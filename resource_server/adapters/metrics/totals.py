"""Counters whose totals are kept elsewhere: data paths count in plain numbers."""

from __future__ import annotations

from collections.abc import Hashable

from prometheus_client import Counter


class Totals:
    """Brings counters up to totals."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, Hashable, str], int] = {}

    def bring(self, counter: Counter, labels: tuple[str, ...], total: int, *, of: Hashable) -> None:
        """Add what has come to the total of something since the last look.

        Several of these may share their labels, if not the last one.
        """
        key = (counter._name, of, labels[-1])  # noqa: SLF001 - its name stands nowhere else
        counter.labels(*labels).inc(total - self._shown.get(key, 0))
        self._shown[key] = total
