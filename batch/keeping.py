"""Work with keepers beside it: what must go on meanwhile, and whose failure ends the work."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def beside(work: Coroutine[Any, Any, _T], *keepers: Coroutine[Any, Any, None]) -> _T:
    """Return what the work returns; a keeper that fails ends it, and its error is raised.

    Nothing of it runs any more when this returns or raises.
    """
    main = asyncio.ensure_future(work)
    keeping = [asyncio.ensure_future(keeper) for keeper in keepers]
    try:
        await asyncio.wait({main, *keeping}, return_when=asyncio.FIRST_COMPLETED)
        for keeper in keeping:
            if keeper.done():
                keeper.result()
        return await main
    finally:
        tasks = {main, *keeping}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            # One error is raised; what the others ended with came of it.
            _ = task.cancelled() or task.exception()
