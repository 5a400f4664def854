"""The lease that one controller at a time holds, kept in the database by the database's clock."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import DateTimeField, ExpressionWrapper, F, Q
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from resource_server.domain import errors
from resource_server.store.database import in_database
from resource_server.store.models import ControllerLease


class LeaseTable:
    """The lease, for a holder of this name, in terms of so many seconds."""

    def __init__(self, holder: str, *, term_s: float) -> None:
        self._holder = holder
        self._term = timedelta(seconds=term_s)

    async def acquire(self) -> int | None:
        """Take the lease if it is free; return its new fencing number, else None."""
        return await in_database(_acquire, self._holder, self._term)

    async def renew(self, fence: int) -> None:
        """Begin another term; raises `LeaseLost` if somebody else has taken the lease."""
        if not await in_database(_extend, fence, self._term):
            raise errors.LeaseLost

    async def release(self, fence: int) -> None:
        """Let the next one take the lease at once."""
        await in_database(_extend, fence, timedelta())


def require_fence(fence: int) -> None:
    """Keep the lease as it is until the transaction ends, or raise `LeaseLost`.

    It belongs at the beginning of every transaction in which a controller writes.
    """
    rows = ControllerLease.objects.select_for_update().filter(id=1, fence=fence)
    if rows.first() is None:
        raise errors.LeaseLost


def _acquire(holder: str, term: timedelta) -> int | None:
    long_ago = ExpressionWrapper(_in(-timedelta(days=1)), output_field=DateTimeField())
    if not ControllerLease.objects.filter(id=1).exists():
        # Of several that begin at once, one brings the row, and one then takes it.
        row = ControllerLease(id=1, expires_at=long_ago)
        ControllerLease.objects.bulk_create([row], ignore_conflicts=True)
    free = ControllerLease.objects.filter(Q(expires_at__lte=Now()), id=1)
    if not free.update(holder=holder, fence=F("fence") + 1, expires_at=_in(term)):
        return None
    # Nobody takes it from us before its term is over.
    return ControllerLease.objects.filter(id=1, holder=holder).values_list("fence", flat=True).get()


def _extend(fence: int, term: timedelta) -> bool:
    ours = ControllerLease.objects.filter(id=1, fence=fence)
    return bool(ours.update(expires_at=_in(term)))


def _in(delay: timedelta) -> CombinedExpression:
    """Return a moment by the database's clock: those of the processes may differ."""
    return Now() + delay
