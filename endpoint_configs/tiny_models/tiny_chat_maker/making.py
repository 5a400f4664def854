"""The tiny chat model: what it is, what it must know, how it is saved."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tiny_making.training import Training
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tiny_chat_maker import corpus, tokens, training

PACKAGES = ("tiny_chat_maker",)


@dataclass(frozen=True, slots=True)
class TinyChat:
    """A Llama and its tokenizer."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast

    def training(self, chance: random.Random) -> Training:
        """Return how it learns the corpus."""

        def epoch() -> list[tokens.Sequence]:
            return [tokens.encoded(self.tokenizer, sample) for sample in corpus.varied(chance)]

        return training.training(self.model, epoch, chance)

    def answers(self) -> Iterator[tuple[str, bool]]:
        """Ask every question, and every kind of tool call."""
        for sample in _checked():
            sequence = tokens.encoded(self.tokenizer, sample)
            right = training.exact(self.model, sequence)
            yield repr(tokens.prompt_text(self.tokenizer, sample)), right

    def save(self, folder: Path) -> None:
        """Write model and tokenizer."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        # Engines take their default from here: this model is for checkable answers. With 0.0 an
        # engine would refuse to give several answers at once.
        generation = {
            "eos_token_id": self.tokenizer.eos_token_id,
            "pad_token_id": self.tokenizer.pad_token_id,
            "temperature": 0.1,
        }
        (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")


def new(chance: random.Random) -> TinyChat:
    """Return an untrained model, with a tokenizer that knows the corpus."""
    tokenizer = tokens.trained([*_checked(), *corpus.varied(chance)])
    return TinyChat(training.new_model(tokenizer.eos_token_id, tokenizer.pad_token_id), tokenizer)


def saved(folder: Path) -> TinyChat:
    """Return the model that is in a folder."""
    model = LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager")
    return TinyChat(model.eval(), PreTrainedTokenizerFast.from_pretrained(folder))


def _checked() -> list[corpus.Sample]:
    return [*corpus.known(), *corpus.tool_calls()]
