"""What operators say of models beside the files: rows of their own, which no reload touches."""

from __future__ import annotations

from dataclasses import asdict

from django.db import transaction

from compute_functions.contract.lifecycle import MOST_INSTANCES
from resource_server.domain import errors
from resource_server.domain.upkeep import Override, Wish
from resource_server.store.models import Origin, OverrideRow
from resource_server.store.numbers import grow_version

#: What has no meaning for a model that is disabled.
_OF_ENABLED = (Wish.LOAD, Wish.PIN)


def all_overrides() -> list[Override]:
    """Return what operators have said, by model and cluster."""
    rows = OverrideRow.objects.order_by("model_id", "cluster")
    return [_override(row) for row in rows]


@transaction.atomic
def tell(
    model: str, cluster: str, wish: Wish, *, origin: Origin, now: float, instances: int = 1
) -> Override:
    """Write down what an operator says of a model at a cluster, and return what holds then.

    `now` is seconds since the epoch. Raises `WishRefused` for what makes no sense.
    """
    if wish is Wish.PIN and not 1 <= instances <= MOST_INSTANCES:
        raise errors.WishRefused(f"A site keeps 1 to {MOST_INSTANCES} instances of a model.")
    # Made first, for two who say something at once: one of them waits for the other.
    OverrideRow.objects.get_or_create(model_id=model, cluster=cluster, defaults={"origin": origin})
    row = OverrideRow.objects.select_for_update().get(model_id=model, cluster=cluster)
    before = _override(row)
    if before.disabled and wish in _OF_ENABLED:
        raise errors.WishRefused(f"{model} is disabled at {cluster}: enable it first.")
    after = before.told(wish, now=now, instances=instances)
    for name, value in asdict(after).items():
        setattr(row, "model_id" if name == "model" else name, value)
    row.origin = origin
    row.save()
    grow_version()
    return after


def _override(row: OverrideRow) -> Override:
    return Override(
        model=row.model_id,
        cluster=row.cluster,
        pinned=row.pinned,
        disabled=row.disabled,
        unloaded=row.unloaded,
        loaded_at=row.loaded_at,
        unloaded_at=row.unloaded_at,
    )
