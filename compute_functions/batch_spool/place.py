"""Where the results of a batch are put among its owner's files, and what came of that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Self

from batch import whole_file
from compute_functions.batch_access.access import Access
from compute_functions.batch_spool import flat_file, sound_file
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.contract.batches import BatchOrder
from compute_functions.errors import AccessRefused

_LOST = "results are fetched from the gateway only: the site's note of their place is damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The folder in which the batch's own one is; None for none, and `problem` says why."""

    folder: str | None = None
    problem: str = ""

    def write(self, folder: BatchFolder) -> None:
        """Put it into a folder that nobody else knows yet."""
        whole_file.create(folder.place, whole_file.packed(asdict(self)))

    @classmethod
    def read(cls, folder: BatchFolder) -> Self:
        """Return what was found when the batch was submitted."""
        found = flat_file.read(folder.place, cls)
        if found is None and sound_file.was_damaged(folder.place):
            return cls(problem=_LOST)
        return found or cls()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """That the results are in their place, or that they could not be put there."""

    results: str | None = None
    progress: str | None = None
    problem: str = ""

    def decide(self, folder: BatchFolder) -> None:
        """Say so, unless it was said before."""
        whole_file.create(folder.delivered, whole_file.packed(asdict(self)))

    @classmethod
    def read(cls, folder: BatchFolder) -> Self | None:
        """Return what was said; None if nothing was yet."""
        return flat_file.read(folder.delivered, cls)


def made(order: BatchOrder, access: Access) -> Place:
    """Make the batch's folder where the order wants its results, and return where that is.

    A folder that the order names must do, or `AccessRefused` is raised. Where it names none, the
    input's own folder is taken if results can be put there; the gateway has them in any case.
    """
    if order.output_folder is not None:
        with access.result_folder(order, order.output_folder):
            return Place(folder=order.output_folder)
    if order.input_path is None:
        return Place()
    parent = str(PurePosixPath(order.input_path).parent)
    try:
        with access.result_folder(order, parent):
            return Place(folder=parent)
    except AccessRefused as error:
        return Place(problem=f"results are fetched from the gateway only: {error}")
