"""Limits that hold across workers, and by each worker for itself while the shared store is away."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from resource_server.domain import errors
from resource_server.domain.limits import Claim, Standing, Verdict
from resource_server.ports import LimitStore


class SharedLimits:
    """A `ports.LimitStore` that is never away.

    While the shared store does not answer, each worker counts for itself, from nothing: whoever
    asks several workers gets up to that many times their limits for so long. To refuse everybody
    would be worse, and to count nothing would leave the clusters without any protection.

    A store that answers, but too many ask, is not away: then `LimitStoreBusy` refuses a request,
    for otherwise whoever asks often enough would be rid of the limits.
    """

    def __init__(self, shared: LimitStore, own: LimitStore) -> None:
        self._shared = shared
        self._own = own
        #: Leases of places that the shared store knows nothing of.
        self._leases: set[str] = set()

    async def take(self, claim: Claim) -> Verdict:
        """Take from every limit or from none; see `ports.LimitStore`."""
        try:
            return await self._shared.take(claim)
        except errors.LimitStoreUnavailable:
            verdict = await self._own.take(claim)
        # Only places are always given back, and only they have to be given back where they were
        # taken; tokens are charged wherever it is possible by then.
        if verdict.granted and claim.places:
            self._leases.add(claim.lease)
        return verdict

    async def settle(self, claim: Claim, *, tokens: int) -> tuple[Standing, ...]:
        """Give places back and charge tokens; see `ports.LimitStore`."""
        if claim.lease not in self._leases:
            # If it fails, the place comes back with its lease, and the tokens are charged here.
            with suppress(errors.LimitStoreUnavailable, errors.LimitStoreBusy):
                return await self._shared.settle(claim, tokens=tokens)
        self._leases.discard(claim.lease)
        return await self._own.settle(claim, tokens=tokens)

    async def renew(self, claims: Collection[Claim]) -> None:
        """Begin leases anew; see `ports.LimitStore`."""
        await self._own.renew([claim for claim in claims if claim.lease in self._leases])
        if shared := [claim for claim in claims if claim.lease not in self._leases]:
            # If it fails, the next round tries again.
            with suppress(errors.LimitStoreUnavailable, errors.LimitStoreBusy):
                await self._shared.renew(shared)
