"""The tiny reranker: it scores whether a document is about the subject of a question."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tiny_making.training import Training
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import PreTrainedTokenizerFast
from transformers.modeling_outputs import SequenceClassifierOutput

from tiny_bert_maker import bert, subjects

PACKAGES = bert.PACKAGES
CHECKED = 60


@dataclass(frozen=True, slots=True)
class Reranker:
    """A BERT that reads question and document together, with one label: the score."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerFast

    def training(self, chance: random.Random) -> Training:
        """Return how it learns.

        To compare two subjects it must see them first, which it would be long in finding out: so
        what the first layer sees is asked for, too, by a head that is thrown away afterwards.
        """
        hint = torch.nn.Linear(bert.HIDDEN, 2 * len(subjects.NAMES))
        learning = bert.training(self.model, lambda _: self._loss(chance, hint))
        teacher = torch.optim.AdamW(hint.parameters()), bert.RATE
        return replace(learning, optimizers=(*learning.optimizers, teacher))

    def answers(self) -> Iterator[tuple[str, bool]]:
        """Have it choose among documents about every subject, for questions about each."""
        chance = random.Random(1)  # noqa: S311 # the same texts every time
        for number in range(CHECKED):
            question = subjects.said(chance, subjects.NAMES[number % len(subjects.NAMES)])
            documents = [subjects.said(chance, name) for name in subjects.NAMES]
            scores = self._scores([(question.text, document.text) for document in documents])
            best = documents[int(scores.argmax())]
            yield f"{question.text!r}: {best.text!r}", best.subject == question.subject

    def save(self, folder: Path) -> None:
        """Write model and tokenizer."""
        bert.save(self.model, self.tokenizer, folder)

    def _loss(self, chance: random.Random, hint: torch.nn.Linear) -> torch.Tensor:
        """Return how badly pairs are scored, and how badly their subjects are seen."""
        pairs, wanted, about = [], [], []
        for number in range(bert.BATCH):
            question = subjects.said(chance)
            document = subjects.said(chance, question.subject if number % 2 else "")
            pairs.append((question.text, document.text))
            wanted.append(float(question.subject == document.subject))
            about.append([subjects.NAMES.index(said.subject) for said in (question, document)])
        read = self._read(pairs, output_hidden_states=True)
        seen = hint(read.hidden_states[1][:, 0]).view(len(pairs), len(subjects.NAMES), 2)
        score = binary_cross_entropy_with_logits(read.logits[:, 0], torch.tensor(wanted))
        return score + cross_entropy(seen, torch.tensor(about))

    def _scores(self, pairs: list[tuple[str, str]]) -> torch.Tensor:
        scores: torch.Tensor = self._read(pairs).logits[:, 0]
        return scores

    def _read(self, pairs: list[tuple[str, str]], **wishes: bool) -> SequenceClassifierOutput:
        questions, documents = map(list, zip(*pairs, strict=True))
        read = self.tokenizer(questions, documents, padding=True, return_tensors="pt")
        found: SequenceClassifierOutput = self.model(**read, **wishes)
        return found


def new(chance: random.Random) -> Reranker:
    """Return an untrained model."""
    tokenizer = bert.new_tokenizer()
    return Reranker(bert.new_model(tokenizer, ["score"]), tokenizer)


def saved(folder: Path) -> Reranker:
    """Return the model that is in a folder."""
    return Reranker(*bert.load(folder))
