"""The mode `account`: the service's account reads and writes, by rules evaluated for the person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compute_functions.batch_access import owner, results, walk
from compute_functions.batch_access.node import Node
from compute_functions.batch_access.person import Person
from compute_functions.batch_access.results import SharedFolder
from compute_functions.batch_settings import BatchSettings
from compute_functions.contract.batches import BatchOrder
from compute_functions.errors import AccessRefused


@dataclass(frozen=True, slots=True)
class AccountAccess:
    """`Access` with the rights of the service's account."""

    settings: BatchSettings

    @contextmanager
    def input(self, order: BatchOrder) -> Iterator[Node]:
        """Hold the order's input file."""
        path = owner.input_path(order)
        person = owner.person(self.settings, order)
        with walk.file(self._readable(path, person), person) as found:
            yield found

    @contextmanager
    def result_folder(self, order: BatchOrder, parent: str) -> Iterator[SharedFolder]:
        """Hold the batch's own folder below `parent`, which is made unless it is there."""
        person = owner.known(self.settings, order, parent)
        path = walk.below(parent, self.settings.folders)
        with (
            walk.writable_folder(path, person) as outer,
            results.opened(outer, results.folder_name(order), person) as folder,
        ):
            yield folder

    def _readable(self, path: str, person: Person) -> Path:
        folders = self.settings.open_folders
        if person.uid is not None:
            folders += self.settings.folders
        try:
            return walk.below(path, folders)
        except AccessRefused:
            owner.require_known(person, path)
            raise
