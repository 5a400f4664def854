"""In whose words a batch is shown where OpenAI's and ALCF's routes have the same URL (ADR 0015)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from resource_server.api.bases import Mount
from resource_server.api.context import GatewayRequest
from resource_server.domain import errors
from resource_server.domain.batches import AlcfStatus, BatchStatus

#: The base URLs that ALCF's users know.
ALCF_MOUNTS = frozenset({"cluster", "resource_server"})
#: The base URL of ALCF's list of batches.
ALCF_LIST = "resource_server"
#: Parameters that ALCF's list never had.
_PAGING = ("limit", "after")


class Words(StrEnum):
    """Whose names and statuses."""

    OPENAI = "openai"
    ALCF = "alcf"


#: The statuses by which a list in these words can be asked for.
_STATUSES: Mapping[Words, type[BatchStatus | AlcfStatus]] = {
    Words.OPENAI: BatchStatus,
    Words.ALCF: AlcfStatus,
}


def of_one(request: GatewayRequest, mount: Mount, *, by_path: bool) -> Words:
    """Return the words for a single batch: below ALCF's base URLs, those in which it was made.

    `by_path` tells that its input is a file of a cluster, as at ALCF.
    """
    if mount.name in ALCF_MOUNTS and by_path and not _is_openai_sdk(request):
        return Words.ALCF
    return Words.OPENAI


def of_list(request: GatewayRequest, mount: Mount) -> Words:
    """Return the words for the list of batches."""
    paged = any(name in request.GET for name in _PAGING)
    if mount.name == ALCF_LIST and not paged and not _is_openai_sdk(request):
        return Words.ALCF
    return Words.OPENAI


def read_status(words: Words, status: str | None) -> tuple[BatchStatus | AlcfStatus, ...]:
    """Return the status of which a list is wanted, or raise `InvalidRequest`."""
    if not status:
        return ()
    known = _STATUSES[words]
    try:
        return (known(status),)
    except ValueError:
        message = f"status is one of {', '.join(known)}."
        raise errors.InvalidRequest(message, param="status") from None


def _is_openai_sdk(request: GatewayRequest) -> bool:
    """Tell whether one of OpenAI's own clients asks: in every language they send this header."""
    return "HTTP_X_STAINLESS_LANG" in request.META
