"""How the tiny chat model learns: a Llama of half a million parameters, in a minute of one core."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import torch
from tiny_making.training import Training, optimizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from tiny_chat_maker.tokens import CONTEXT, IGNORED, VOCABULARY, Sequence

HIDDEN = 128
LAYERS = 2
#: vLLM's attention for CPUs takes heads of 32.
HEAD = 32
#: Tokens in a batch, padding included.
BATCH_TOKENS = 2000
RATE = 5e-3
MUON_RATE = 0.03

Epoch = Callable[[], list[Sequence]]


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


def training(model: LlamaForCausalLM, epoch: Epoch, chance: random.Random) -> Training:
    """Return a training on what `epoch` gives, anew whenever the last samples are used up."""
    batches = _batches(epoch, model.config.pad_token_id, chance)
    return Training(
        model=model,
        loss=lambda _: _loss(model, *next(batches)),
        optimizers=optimizers(
            model,
            lambda name: name.startswith("model.layers."),
            rate=RATE,
            muon_rate=MUON_RATE,
        ),
    )


def exact(model: LlamaForCausalLM, sequence: Sequence) -> bool:
    """Whether the model, asked greedily, gives a sequence's answer exactly.

    A greedy answer is exact if every next token is the likeliest after the right ones before.
    """
    tokens, labels = sequence
    guessed = model(torch.tensor([tokens])).logits[0, :-1].argmax(-1)
    wanted = torch.tensor(labels[1:])
    return bool(((guessed == wanted) | (wanted == IGNORED)).all())


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
