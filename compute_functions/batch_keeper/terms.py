"""What a model's file says of batches, and what of that one runner is told."""

from __future__ import annotations

from batch.control import Control
from compute_functions.batch_settings import BatchSettings
from compute_functions.contract.batches import BatchOrder
from compute_functions.model_config import BatchTerms


def control(
    order: BatchOrder, terms: BatchTerms, settings: BatchSettings, *, alone: bool = False
) -> Control:
    """Return the bounds of one runner: those of the model, shared by all runners of an instance.

    On an instance that no caller uses, where batches are `alone`, there is nobody to leave a share.
    """
    runners = settings.runners_per_instance
    share = _share(terms, settings, alone=alone)
    bound = terms.concurrency
    return Control(
        share=share / runners,
        concurrency=None if bound is None else max(1, bound // runners),
        expires_at=order.expires_at,
    )


def _share(terms: BatchTerms, settings: BatchSettings, *, alone: bool) -> float:
    if alone:
        return 1.0
    return settings.share if terms.share is None else terms.share
