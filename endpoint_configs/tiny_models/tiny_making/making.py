"""From nothing to a folder: the steps of making a tiny model, and the record of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch
import transformers

from tiny_making import record
from tiny_making.record import REHEARSED_STEPS, Record
from tiny_making.training import Training, digest, silently, train

SEED = 0
WEIGHTS = "model.safetensors"
#: How often progress is told (steps).
TOLD_EVERY = 40

Say = Callable[[str], None]


class Student(Protocol):
    """A model with what belongs to it: what it reads with, and what it must know."""

    def training(self, chance: random.Random) -> Training:
        """Return how it is trained; all that varies is drawn from `chance`."""

    def answers(self) -> Iterator[tuple[str, bool]]:
        """Ask it all that it must know: yield each question, and whether the answer is right."""

    def save(self, folder: Path) -> None:
        """Write all that an engine needs."""


class Maker(Protocol):
    """The module of one kind of model."""

    #: The packages beside this one that decide what is made.
    PACKAGES: tuple[str, ...]

    def new(self, chance: random.Random) -> Student:
        """Return an untrained model."""

    def saved(self, folder: Path) -> Student:
        """Return the model that is in a folder."""


def make(maker: Maker, folder: Path, *, steps: int, say: Say) -> int:
    """Make the model in `folder`; return 1 if it fails its own check, else 0."""
    # Now, because somebody may edit them while this runs.
    sources = record.sources(maker.PACKAGES)
    chance = _repeatable()
    student = maker.new(chance)
    training = student.training(chance)
    say(f"{sum(p.numel() for p in training.model.parameters())} parameters")
    rehearsed: list[str] = []

    def report(step: int, loss: float) -> None:
        if step == REHEARSED_STEPS:
            rehearsed.append(digest(training.model.named_parameters()))
        if step % TOLD_EVERY == 0 or step == steps:
            say(f"step {step} of {steps}, loss {loss:.3f}")

    train(training, steps=steps, last=steps, report=report)
    right = _check(student, say)
    student.save(folder)
    (folder / WEIGHTS).chmod(0o644)
    made = _record(folder, sources, steps=steps, rehearsed="".join(rehearsed), right=right)
    made.write(folder)
    say(f"made {folder}")
    return 0 if all(right) else 1


def rehearse(maker: Maker, *, steps: int, say: Say) -> int:
    """Take the first steps of a making, and say what the record should hold as `rehearsed`."""
    chance = _repeatable()
    training = maker.new(chance).training(chance)
    train(training, steps=steps, last=REHEARSED_STEPS, report=silently)
    say(digest(training.model.named_parameters()))
    return 0


def check(maker: Maker, folder: Path, *, say: Say) -> int:
    """Ask the model in `folder` all that it should know; return 1 if an answer is wrong."""
    _repeatable()
    return 0 if all(_check(maker.saved(folder), say)) else 1


def _repeatable() -> random.Random:
    """Have everything happen in the same way every time, and return what to draw from."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(mode=True)
    transformers.utils.logging.disable_progress_bar()
    return random.Random(SEED)  # noqa: S311 # it must be the same every time


def _check(student: Student, say: Say) -> list[bool]:
    right = []
    with torch.inference_mode():
        for question, is_right in student.answers():
            right.append(is_right)
            if not is_right:
                say(f"wrong: {question}")
    say(f"{sum(right)} of {len(right)} answers are right")
    return right


def _record(folder: Path, sources: str, *, steps: int, rehearsed: str, right: list[bool]) -> Record:
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return Record(
        sources=sources,
        steps=steps,
        versions=versions,
        cpu=record.cpu(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        rehearsed=rehearsed,
        right=sum(right),
        asked=len(right),
        files=record.hashes(folder),
    )
