"""Long lists, one page after the other, as OpenAI's clients ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from resource_server.domain import errors

T = TypeVar("T")

#: How many files and batches a page has, and at the most.
USUAL_FILES, MOST_FILES = 10_000, 10_000
USUAL_BATCHES, MOST_BATCHES = 20, 100
_ORDERS = {"asc": False, "desc": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Which page: the `limit` items that follow the one with the id `after`, or the first ones."""

    limit: int
    after: str | None = None
    newest_first: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some items in order, and whether more follow."""

    items: tuple[T, ...]
    has_more: bool


def file_paging(
    *, after: str | None = None, limit: int | None = None, order: str | None = None
) -> Paging:
    """Return which page of files a caller asks for, or raise `InvalidRequest`."""
    newest_first = _ORDERS.get(order or "desc")
    if newest_first is None:
        raise errors.InvalidRequest("order is 'asc' or 'desc'.", param="order")
    limit = _limit(USUAL_FILES if limit is None else limit, MOST_FILES)
    return Paging(limit=limit, after=_after(after), newest_first=newest_first)


def batch_paging(*, after: str | None = None, limit: int | None = None) -> Paging:
    """Return which page of batches a caller asks for, or raise `InvalidRequest`."""
    limit = _limit(USUAL_BATCHES if limit is None else limit, MOST_BATCHES)
    return Paging(limit=limit, after=_after(after))


def _after(after: str | None) -> str | None:
    if after and not (after.isascii() and after.isprintable()):
        raise errors.InvalidRequest("after is no id.", param="after")
    return after or None


def _limit(limit: int, most: int) -> int:
    if not 1 <= limit <= most:
        raise errors.InvalidRequest(f"limit is from 1 to {most}.", param="limit")
    return limit
