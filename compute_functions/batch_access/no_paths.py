"""A site without `batches.access`: it takes uploaded files only."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from compute_functions.batch_access import owner
from compute_functions.batch_access.access import InputFile, ResultFolder
from compute_functions.batch_settings import BatchSettings
from compute_functions.contract.batches import BatchOrder
from compute_functions.errors import AccessRefused


@dataclass(frozen=True, slots=True)
class NoPaths:
    """`Access` that refuses every path."""

    settings: BatchSettings

    def input(self, order: BatchOrder) -> AbstractContextManager[InputFile]:
        """Refuse the order's input file."""
        raise _refusal(owner.input_path(order))

    def result_folder(self, order: BatchOrder, parent: str) -> AbstractContextManager[ResultFolder]:
        """Refuse the folder."""
        raise _refusal(parent)


def _refusal(path: str) -> AccessRefused:
    return AccessRefused(f"{path}: the cluster takes uploaded files only, and no paths")
