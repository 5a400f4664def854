"""The training loop of every tiny model, and the weights' hash on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from tiny_making.muon import Muon

WARM_UP = 20
#: The part of the learning rate that is left at the end.
LAST_RATE = 0.03

#: Gives the loss of the next batch, told how far the training is (0 to 1).
Loss = Callable[[float], torch.Tensor]
Report = Callable[[int, float], None]


def silently(step: int, loss: float) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A model before its training, and how it is trained; each optimizer has its own rate."""

    model: torch.nn.Module
    loss: Loss
    optimizers: tuple[tuple[torch.optim.Optimizer, float], ...]


def optimizers(
    model: torch.nn.Module, inner: Callable[[str], bool], *, rate: float, muon_rate: float
) -> tuple[tuple[torch.optim.Optimizer, float], ...]:
    """Give Muon the matrices whose names are `inner`, and AdamW all else."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and inner(name) else others).append(parameter)  # noqa: PLR2004 # a matrix
    adam = torch.optim.AdamW(others, lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
    return (adam, rate), (Muon(matrices), muon_rate)


def train(training: Training, *, steps: int, last: int, report: Report) -> None:
    """Take the steps up to the `last` of a training of `steps`."""
    training.model.train()
    for step in range(last):
        scale = min(1.0, (step + 1) / WARM_UP) * max(LAST_RATE, 1 - step / steps)
        loss = training.loss(step / steps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(training.model.parameters(), 1.0)
        for optimizer, rate in training.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = scale * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        report(step + 1, loss.item())
    training.model.eval()


def digest(parameters: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Return the hash of a model's weights as they are now."""
    found = hashlib.sha256()
    for name, parameter in parameters:
        found.update(name.encode() + b"\0" + parameter.detach().numpy().tobytes())
    return found.hexdigest()
