"""Trains the tiny chat model: a Llama of half a million parameters, on one core in a minute."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from tiny_chat_maker.muon import Muon
from tiny_chat_maker.tokens import CONTEXT, IGNORED, VOCABULARY, Sequence

HIDDEN = 128
LAYERS = 2
#: vLLM's attention for CPUs takes heads of 32.
HEAD = 32
#: Tokens in a batch, padding included.
BATCH_TOKENS = 2000
RATE = 5e-3
MUON_RATE = 0.03
WARM_UP = 20
#: The part of the learning rate that is left at the end.
LAST_RATE = 0.03

Epoch = Callable[[], list[Sequence]]
Report = Callable[[int, float], None]


def new_model(eos: int, pad: int) -> LlamaForCausalLM:
    """Return an untrained model."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HIDDEN // HEAD,
        num_key_value_heads=HIDDEN // HEAD // 2,
        head_dim=HEAD,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
        rms_norm_eps=1e-5,
        dtype="float32",
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        attn_implementation="eager",
    )
    return LlamaForCausalLM(config)


def train(
    model: LlamaForCausalLM, epoch: Epoch, *, steps: int, chance: random.Random, report: Report
) -> None:
    """Train for `steps` batches; `epoch` gives fresh samples whenever the last are used up."""
    optimizers = _optimizers(model)
    model.train()
    batches = _batches(epoch, model.config.pad_token_id, chance)
    for step in range(steps):
        scale = min(1.0, (step + 1) / WARM_UP) * max(LAST_RATE, 1 - step / steps)
        loss = _loss(model, *next(batches))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = scale * rate
            optimizer.step()
        model.zero_grad(set_to_none=True)
        report(step + 1, loss.item())
    model.eval()


def exact(model: LlamaForCausalLM, sequences: list[Sequence]) -> list[bool]:
    """Return for each sequence whether the model, asked greedily, gives its answer exactly.

    A greedy answer is exact if every next token is the likeliest after the right ones before.
    """
    found = []
    with torch.inference_mode():
        for tokens, labels in sequences:
            guessed = model(torch.tensor([tokens])).logits[0, :-1].argmax(-1)
            wanted = torch.tensor(labels[1:])
            found.append(bool(((guessed == wanted) | (wanted == IGNORED)).all()))
    return found


def _optimizers(model: LlamaForCausalLM) -> list[tuple[torch.optim.Optimizer, float]]:
    """Give Muon the layers' matrices, and AdamW the embedding and the norms."""
    layers = [*model.model.layers.parameters()]
    matrices = [parameter for parameter in layers if parameter.ndim > 1]
    others = [
        *(parameter for parameter in layers if parameter.ndim == 1),
        *model.model.embed_tokens.parameters(),
        *model.model.norm.parameters(),
    ]
    adam = torch.optim.AdamW(others, lr=RATE, weight_decay=0.01, betas=(0.9, 0.98))
    return [(adam, RATE), (Muon(matrices), MUON_RATE)]


def _loss(model: LlamaForCausalLM, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss over the answers; the head is computed for their tokens alone."""
    hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    counted = wanted != IGNORED
    return cross_entropy(model.lm_head(hidden[counted]), wanted[counted])


def _batches(
    epoch: Epoch, pad: int, chance: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of sequences of about the same length, in random order, for ever."""
    while True:
        sequences = epoch()
        chance.shuffle(sequences)
        sequences.sort(key=lambda sequence: len(sequence[0]) // 16)
        packs: list[list[Sequence]] = [[]]
        for sequence in sequences:
            longest = max(len(tokens) for tokens, _ in [*packs[-1], sequence])
            if packs[-1] and longest * (len(packs[-1]) + 1) > BATCH_TOKENS:
                packs.append([])
            packs[-1].append(sequence)
        chance.shuffle(packs)
        for pack in packs:
            yield _padded(pack, pad)


def _padded(pack: list[Sequence], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sequences side by side.

    Padding is at the end, where no counted token can attend to it: no mask is needed.
    """
    length = max(len(tokens) for tokens, _ in pack)
    tokens = torch.full((len(pack), length), pad)
    labels = torch.full((len(pack), length), IGNORED)
    for row, (ids, wanted) in enumerate(pack):
        tokens[row, : len(ids)] = torch.tensor(ids)
        labels[row, : len(wanted)] = torch.tensor(wanted)
    return tokens, labels
