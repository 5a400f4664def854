"""What a person asks of batches at a gateway: create, look, list, cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from batch.client.errors import NotAsTold
from batch.client.gateway import Ask, Gateway
from batch.client.hosted import Hosted

_MOST_PER_PAGE = 100
#: What is asked for where nobody says otherwise.
WINDOW = "24h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A batch to be: its input is an uploaded file, or `site_path`, a file of the cluster.

    What is None is left to the gateway. Who sends an order again with the same `key` gets the same
    batch.
    """

    key: str
    input_file_id: str | None = None
    site_path: str | None = None
    output_folder: str | None = None
    model: str | None = None
    endpoint: str | None = None
    window: str = WINDOW
    metadata: Mapping[str, str] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        """Return a JSON-ready dict, as the gateway takes it."""
        said = {
            "input_file_id": self.input_file_id,
            "input_file": self.site_path,
            "output_folder_path": self.output_folder,
            "model": self.model,
            "endpoint": self.endpoint,
            "completion_window": self.window,
            "metadata": dict(self.metadata),
        }
        return {name: value for name, value in said.items() if value}


async def create(gateway: Gateway, order: Order) -> Hosted:
    """Have a batch made, once, however often the question has to be repeated."""
    headers = {"Idempotency-Key": order.key}
    ask = Ask(method="POST", path="batches", body=order.to_wire(), headers=headers)
    return Hosted.from_wire(await gateway.json(ask))


async def get(gateway: Gateway, batch_id: str) -> Hosted:
    """Return how a batch is."""
    return Hosted.from_wire(await gateway.json(Ask(method="GET", path=_path(batch_id))))


async def cancel(gateway: Gateway, batch_id: str) -> Hosted:
    """Have a batch cancelled; who does it again changes nothing."""
    ask = Ask(method="POST", path=f"{_path(batch_id)}/cancel")
    return Hosted.from_wire(await gateway.json(ask))


async def newest(gateway: Gateway, limit: int) -> AsyncIterator[Hosted]:
    """Yield so many batches, the newest first."""
    query: dict[str, str] = {}
    while limit > 0:
        query["limit"] = str(min(limit, _MOST_PER_PAGE))
        page = await gateway.json(Ask(method="GET", path="batches", query=query))
        found = page.get("data")
        if not isinstance(found, list):
            raise NotAsTold("the list of batches is none")
        for wire in found[:limit]:
            yield Hosted.from_wire(wire)
        limit -= len(found)
        if not found or not page.get("has_more"):
            return
        query["after"] = str(found[-1]["id"])


def _path(batch_id: str) -> str:
    return f"batches/{quote(batch_id, safe='')}"
