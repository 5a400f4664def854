"""What the spool wants of a site's rules for paths: one page for all modes (`batches.access`)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol, TypeAlias

from compute_functions.batch_settings import BatchSettings
from compute_functions.contract.batches import BatchOrder


class Sink(Protocol):
    """Where the content of a file goes."""

    def write(self, data: bytes, /) -> object:
        """Take all of it."""
        ...


#: Writes the whole content of a file.
Content: TypeAlias = Callable[[Sink], object]


class InputFile(Protocol):
    """A person's file that is held: it is the same one, whatever becomes of its name meanwhile."""

    @property
    def path(self) -> str:
        """Its name to the person who asked."""
        ...

    @property
    def size(self) -> int:
        """How many bytes it has."""
        ...

    def copy_to(self, target: BinaryIO) -> None:
        """Write it there; never more than `size`. `BatchRefused` if it changed meanwhile."""
        ...


class ResultFolder(Protocol):
    """A batch's own folder among a person's files. Files in it appear whole, and are that person's.

    Whatever else has the name of one of them is left alone: `AccessRefused`.
    """

    @property
    def path(self) -> str:
        """Its name to the person."""
        ...

    def put(self, name: str, write: Content) -> str:
        """Put a file there and return its path; one that is there is left as it is."""
        ...

    def replace(self, name: str, write: Content) -> str:
        """Put a file there in the place of the one that was put there before."""
        ...


class Access(Protocol):
    """The rules of one site for paths of batches: who a person is, and what that person may use.

    Everything raises `AccessRefused` with words for the person; `FilesAway` where it may work
    later, `ConfigurationError` where the operators must act, and `OSError` where the disk does not
    answer as it should. What is held is held for the length of the `with` block.
    """

    @property
    def settings(self) -> BatchSettings:
        """What the site's file says."""
        ...

    def input(self, order: BatchOrder) -> AbstractContextManager[InputFile]:
        """Hold the order's input file."""
        ...

    def result_folder(self, order: BatchOrder, parent: str) -> AbstractContextManager[ResultFolder]:
        """Hold the batch's own folder below `parent`, which is made unless it is there."""
        ...
