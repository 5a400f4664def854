"""Keeps the agent's report as short as hubs take it: one that is longer would end the link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from compute_functions.contract import Instance, InstanceState, SiteStatus, site_link
from compute_functions.contract.site_link import MessageKind

_T = TypeVar("_T")
#: A gateway shows less of it (characters).
MOST_WORDS = 1_000
#: So many instances and models always fit, with words of that length.
FEW = 500
#: Left free for what the agent says of itself (bytes).
_MARGIN = 64 * 1024
#: What is left of a list that is too long is measured anew; a little less than fits saves a turn.
_CARE = 0.95
_ENDED = frozenset({InstanceState.STOPPED, InstanceState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """A report that fits, and what is not in it, in words; nothing if it is whole."""

    status: SiteStatus
    left_out: str = ""


def brief(status: SiteStatus, *, most: int = site_link.MOST_MESSAGE - _MARGIN) -> Brief:
    """Return a report of at most so many bytes.

    Instances that have ended are left out first, those that ended long ago before others; then
    such as began last. Of the models' outlooks all are kept as long as that is enough.
    """
    instances = tuple(_with_few_words(one) for one in status.instances)
    found = replace(status, instances=instances)
    if len(instances) + len(status.outlooks) <= FEW:
        return Brief(status=found)
    found = replace(found, instances=_in_order(instances))
    while (size := _size(found)) > most:
        if found.instances:
            found = replace(found, instances=_less(found.instances, most / size))
        elif found.outlooks:
            found = replace(found, outlooks=_less(found.outlooks, most / size))
        else:
            break
    return Brief(status=found, left_out=_left_out(status, found))


def _with_few_words(one: Instance) -> Instance:
    if len(one.detail) <= MOST_WORDS and len(one.reason) <= MOST_WORDS:
        return one
    return replace(one, detail=one.detail[:MOST_WORDS], reason=one.reason[:MOST_WORDS])


def _in_order(instances: tuple[Instance, ...]) -> tuple[Instance, ...]:
    """Return first what is worth most: what lives, the oldest first, then what ended last."""
    alive = sorted(
        (one for one in instances if one.state not in _ENDED), key=lambda one: one.started_at
    )
    ended = sorted(
        (one for one in instances if one.state in _ENDED), key=lambda one: -one.started_at
    )
    return (*alive, *ended)


def _less(items: Sequence[_T], share: float) -> tuple[_T, ...]:
    return tuple(items[: int(len(items) * min(share, 1.0) * _CARE)])


def _size(status: SiteStatus) -> int:
    # JSON of ours is ASCII: as many bytes as characters.
    return len(site_link.message(MessageKind.OBSERVED, status))


def _left_out(whole: SiteStatus, found: SiteStatus) -> str:
    instances = len(whole.instances) - len(found.instances)
    models = len(whole.outlooks) - len(found.outlooks)
    if not instances and not models:
        return ""
    return f"the report is too long: {instances} instances and {models} models are left out of it"
