"""The tiny classifier: it names the subject of a text."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tiny_making.training import Training
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast

from tiny_bert_maker import bert, subjects

PACKAGES = bert.PACKAGES
CHECKED = 60


@dataclass(frozen=True, slots=True)
class Classifier:
    """A BERT with one label per subject."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerFast

    def training(self, chance: random.Random) -> Training:
        """Return how it learns."""
        return bert.training(self.model, lambda _: self._loss(chance))

    def answers(self) -> Iterator[tuple[str, bool]]:
        """Have it name the subjects of texts that it never saw."""
        chance = random.Random(1)  # noqa: S311 # the same texts every time
        for _ in range(CHECKED):
            said = subjects.said(chance)
            named = subjects.NAMES[int(self._scores([said.text]).argmax())]
            yield f"{said.text!r}: {named}", named == said.subject

    def save(self, folder: Path) -> None:
        """Write model and tokenizer."""
        bert.save(self.model, self.tokenizer, folder)

    def _loss(self, chance: random.Random) -> torch.Tensor:
        batch = [subjects.said(chance) for _ in range(bert.BATCH)]
        wanted = [subjects.NAMES.index(said.subject) for said in batch]
        return cross_entropy(self._scores([said.text for said in batch]), torch.tensor(wanted))

    def _scores(self, texts: list[str]) -> torch.Tensor:
        scores: torch.Tensor = self.model(
            **self.tokenizer(texts, padding=True, return_tensors="pt")
        ).logits
        return scores


def new(chance: random.Random) -> Classifier:
    """Return an untrained model."""
    tokenizer = bert.new_tokenizer()
    return Classifier(bert.new_model(tokenizer, subjects.NAMES), tokenizer)


def saved(folder: Path) -> Classifier:
    """Return the model that is in a folder."""
    return Classifier(*bert.load(folder))
