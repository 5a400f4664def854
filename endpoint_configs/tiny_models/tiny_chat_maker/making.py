"""From corpus to folder: the steps of making the tiny chat model, and the record of them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tiny_chat_maker import corpus, tokens, training
from tiny_chat_maker.record import Record, cpu, sources

SEED = 0
WEIGHTS = "model.safetensors"
#: How often progress is told (steps).
TOLD_EVERY = 40

Say = Callable[[str], None]


def make(folder: Path, *, steps: int, say: Say) -> int:
    """Make the model in `folder`; return 1 if it fails its own check, else 0."""
    _repeatable()
    chance = random.Random(SEED)  # noqa: S311 # it must be the same every time
    tokenizer = tokens.trained([*_checked(), *corpus.varied(chance)])
    model = training.new_model(tokenizer.eos_token_id, tokenizer.pad_token_id)
    say(f"{sum(p.numel() for p in model.parameters())} parameters, {len(tokenizer)} tokens")

    def epoch() -> list[tokens.Sequence]:
        return [tokens.encoded(tokenizer, sample) for sample in corpus.varied(chance)]

    def report(step: int, loss: float) -> None:
        if step % TOLD_EVERY == 0 or step == steps:
            say(f"step {step} of {steps}, loss {loss:.3f}")

    training.train(model, epoch, steps=steps, chance=chance, report=report)
    right = _check(model, tokenizer, say)
    _save(model, tokenizer, folder)
    _record(folder, steps=steps, right=sum(right), asked=len(right)).write(folder)
    say(f"{sum(right)} of {len(right)} answers are right; made {folder}")
    return 0 if all(right) else 1


def check(folder: Path, *, say: Say) -> int:
    """Ask the model in `folder` all that it should know; return 1 if an answer is wrong."""
    _repeatable()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager")
    right = _check(model.eval(), tokenizer, say)
    say(f"{sum(right)} of {len(right)} answers are right")
    return 0 if all(right) else 1


def _repeatable() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(mode=True)
    transformers.utils.logging.disable_progress_bar()


def _checked() -> list[corpus.Sample]:
    return [*corpus.known(), *corpus.tool_calls()]


def _check(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, say: Say) -> list[bool]:
    samples = _checked()
    right = training.exact(model, [tokens.encoded(tokenizer, sample) for sample in samples])
    for sample, is_right in zip(samples, right, strict=True):
        if not is_right:
            say(f"wrong: {tokens.prompt_text(tokenizer, sample)!r}")
    return right


def _save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # Engines take their default from here: this model is for checkable answers. With 0.0 an engine
    # would refuse to give several answers at once.
    generation = {
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "temperature": 0.1,
    }
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    (folder / WEIGHTS).chmod(0o644)


def _record(folder: Path, *, steps: int, right: int, asked: int) -> Record:
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    names = sorted(path.name for path in folder.iterdir() if path.name != Record.NAME)
    return Record(
        sources=sources(),
        steps=steps,
        versions=versions,
        cpu=cpu(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        right=right,
        asked=asked,
        files={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names},
    )
