"""One page of rows that have a number, which tells the order in which they came."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db.models import QuerySet

from resource_server.domain import errors
from resource_server.domain.paging import Page, Paging
from resource_server.store.batch_models import BatchRow, FileRow

RowT = TypeVar("RowT", FileRow, BatchRow)
ValueT = TypeVar("ValueT")


def page_of(
    rows: QuerySet[RowT], begin: QuerySet[RowT], paging: Paging, read: Callable[[RowT], ValueT]
) -> Page[ValueT]:
    """Return a page of `rows`; `begin` finds the row named by `after`.

    Raises `InvalidRequest` if there is none.
    """
    if paging.after is not None:
        number = begin.values_list("number", flat=True).first()
        if number is None:
            raise errors.InvalidRequest(
                "after is the id of the last one on the page before.", param="after"
            )
        side = "number__lt" if paging.newest_first else "number__gt"
        rows = rows.filter(**{side: number})
    ordered = rows.order_by("-number" if paging.newest_first else "number")
    # One more than asked for tells whether there are more.
    found = list(ordered[: paging.limit + 1])
    items = tuple(map(read, found[: paging.limit]))
    return Page(items=items, has_more=len(found) > paging.limit)
