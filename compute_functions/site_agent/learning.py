"""Learns from each instance, once, how long it waited and loaded; estimates from that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from compute_functions.orders import Order
from compute_functions.reconciler.estimate import Estimate
from compute_functions.reconciler.member import Member
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.site_agent.history import History, Loaded, Queued


class Learning:
    """Watches instances go by."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._queued: set[str] = set()
        self._loaded: set[str] = set()
        self._pending: set[str] = set()

    def load(self) -> None:
        """Read what was learnt before."""
        self._history.load()

    def note(
        self,
        members: Iterable[Member],
        orders: Mapping[str, Order],
        partition: Callable[[bool], str],
    ) -> None:
        """Learn from what there is now; `partition` is that of hot models' jobs, and of others'.

        A wait in the queue counts where it was watched: of a job that ran already when it was first
        seen nobody knows when it began. A load counts as the instance tells it.
        """
        alive = set()
        for member in members:
            alive.add(member.instance)
            if (order := orders.get(member.instance)) is not None:
                self._note(member, order, partition)
        self._queued &= alive
        self._loaded &= alive
        self._pending &= alive

    def estimate(self, key: ModelKey, *, gpus: int, partition: str) -> Estimate:
        """Return what a cold start takes, as far as anybody knows."""
        return Estimate(
            queue_s=self._history.queue_s(partition, gpus),
            load_s=self._history.load_s(key.model, key.framework),
        )

    def _note(self, member: Member, order: Order, partition: Callable[[bool], str]) -> None:
        name = member.instance
        if member.started_at is None:
            self._pending.add(name)
            return
        if name in self._pending and name not in self._queued:
            self._queued.add(name)
            waited_s = max(0.0, member.started_at - member.submitted_at)
            self._history.add(
                Queued(partition=partition(order.hot), gpus=order.gpus, seconds=waited_s)
            )
        ready_at = member.registered.ready_at if member.registered else None
        if ready_at is not None and name not in self._loaded:
            self._loaded.add(name)
            self._history.add(
                Loaded(
                    model=order.model,
                    framework=order.framework,
                    seconds=max(0.0, ready_at - member.started_at),
                )
            )
