"""The tiny chat model's tokenizer: byte-level, so that every text can be said, and trained here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tiny_chat_maker.corpus import Sample

VOCABULARY = 1024
CONTEXT = 4096
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
#: Not "special" in the sense of being hidden: engines look for them in the text.
MARKS = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tools>",
    "</tools>",
    "<tool_response>",
    "</tool_response>",
)
#: Where no token reaches across. A word takes the space after it along, not the one before: then it
#: is the same token at the end of a question and between the quotes of a tool call, and the model
#: can copy it. Digits stand alone.
PIECES = r"[\p{L}_]+ ?|\d"
TEMPLATE = Path(__file__).with_name("chat_template.jinja")
#: The label of a token that the loss leaves out.
IGNORED = -100

#: Token ids, and the same with those of the prompt ignored.
Sequence: TypeAlias = tuple[list[int], list[int]]


def trained(samples: Iterable[Sample]) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose merges come from what is said in `samples`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKS),
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(samples), trainer)
    tokenizer.add_tokens(list(MARKS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=None,
        eos_token=END,
        pad_token=PAD,
        chat_template=TEMPLATE.read_text(),
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def encoded(tokenizer: PreTrainedTokenizerFast, sample: Sample) -> Sequence:
    """Return a sample's tokens and labels."""
    prompt = _ids(tokenizer, prompt_text(tokenizer, sample))
    thought = f"{sample.thought}\n</think>\n\n" if sample.thought else ""
    answer = _ids(tokenizer, thought + sample.answer + END)
    return prompt + answer, [IGNORED] * len(prompt) + answer


def prompt_text(tokenizer: PreTrainedTokenizerFast, sample: Sample) -> str:
    """Return what the model is shown before it answers."""
    if sample.opening:
        return sample.opening
    text: str = tokenizer.apply_chat_template(
        list(sample.messages),
        tools=list(sample.tools) or None,
        add_generation_prompt=True,
        tokenize=False,
        enable_thinking=bool(sample.thought),
    )
    return text


def _ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids


def _texts(samples: Iterable[Sample]) -> Iterable[str]:
    for sample in samples:
        yield from (message["content"] for message in sample.messages)
        yield from (tool["function"]["name"] for tool in sample.tools)
        yield sample.opening + sample.answer
        yield sample.thought
