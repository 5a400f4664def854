"""A batch's order on disk: the contract's value, written once."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

from batch import whole_file
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.contract.batches import MOST_BATCHES, BatchOrder
from compute_functions.errors import BatchUnknown, ConfigurationError


def write(folder: BatchFolder, order: BatchOrder) -> None:
    """Put the order into a folder that nobody else knows yet."""
    whole_file.create(folder.order, whole_file.packed(order.to_wire()))


def read(folder: BatchFolder) -> BatchOrder:
    """Return the order; `BatchUnknown` without one, `ConfigurationError` for a damaged file."""
    try:
        status = folder.order.stat()
        return _read(folder, status.st_mtime_ns, status.st_ino)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BatchUnknown(f"there is no batch {folder.batch}") from error


# An order never changes, and whoever counts a person's batches reads them all.
@lru_cache(maxsize=2 * MOST_BATCHES)
def _read(folder: BatchFolder, _changed_ns: int, _inode: int) -> BatchOrder:
    try:
        order = BatchOrder.from_wire(json.loads(folder.order.read_bytes()))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{folder.order} is not a batch's order: {error}") from error
    if order.batch != folder.batch:
        raise ConfigurationError(f"{folder.order} is the order of {order.batch}")
    return order


def same(known: BatchOrder, order: BatchOrder) -> bool:
    """Whether two orders are one, as they are on the wire: `1` and `1.0` are the same there.

    Of one that was taken by the version before, what that could not read does not count.
    """
    if not known.endpoints:
        order = replace(order, endpoints=())
    if known.most_inputs is None:
        order = replace(order, most_inputs=None)
    return known.to_wire() == order.to_wire()
