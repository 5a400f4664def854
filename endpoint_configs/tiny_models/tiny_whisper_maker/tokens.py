"""The tiny Whisper model's tokenizer: Whisper's control tokens over the words for ten digits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import WhisperTokenizer
from transformers.models.whisper.tokenization_whisper import LANGUAGES

WORDS: Mapping[str, tuple[str, ...]] = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "de": ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
}
END, START = "<|endoftext|>", "<|startoftranscript|>"
#: The tasks, as they are named in a prompt.
TRANSCRIBE, TRANSLATE = "transcribe", "translate"
NO_TIMES, BEFORE = "<|notimestamps|>", "<|startofprev|>"
#: Engines want a token for every language that Whisper knows, and times up to 30 s.
CONTROL = (
    START,
    *(f"<|{language}|>" for language in LANGUAGES),
    *("<|translate|>", "<|transcribe|>", "<|startoflm|>", BEFORE, "<|nospeech|>", NO_TIMES),
)
TIMES = 1501
#: What one step of the times is (seconds).
TIME_STEP = 0.02
VOCABULARY = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for: the language that is spoken, the task, with times or without."""

    language: str = "en"
    task: str = TRANSCRIBE
    times: bool = False

    @property
    def written(self) -> str:
        """The language of the answer: a translation is into English."""
        return self.language if self.task == TRANSCRIBE else "en"


def text(digits: str, order: Order) -> str:
    """Return what the model shall write."""
    return " " + " ".join(WORDS[order.written][int(digit)] for digit in digits)


def sequence(tokenizer: WhisperTokenizer, digits: str, order: Order, seconds: float) -> list[int]:
    """Return the whole of what the decoder is taught: prompt, answer and end."""
    id_of = tokenizer.convert_tokens_to_ids
    control = [START, f"<|{order.language}|>", f"<|{order.task}|>"]
    words: list[int] = tokenizer(text(digits, order), add_special_tokens=False).input_ids
    if not order.times:
        return [*map(id_of, (*control, NO_TIMES)), *words, id_of(END)]
    first: int = id_of("<|0.00|>")
    last = first + round(seconds / TIME_STEP)
    return [*map(id_of, control), first, *words, last, id_of(END)]


def new() -> WhisperTokenizer:
    """Return the tokenizer; its merges come from the words alone."""
    vocabulary, merges = _words()
    controls = {token: len(vocabulary) + n for n, token in enumerate((END, *CONTROL))}
    tokenizer = WhisperTokenizer(
        vocab=vocabulary | controls,
        merges=merges,
        unk_token=END,
        bos_token=END,
        eos_token=END,
        pad_token=END,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(CONTROL)})
    # Times are text to the decoder of an answer, so they must not be special.
    times = (f"<|{n * TIME_STEP:.2f}|>" for n in range(TIMES))
    tokenizer.add_tokens([AddedToken(time, special=False, normalized=False) for time in times])
    return tokenizer


def _words() -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" " + " ".join(words) for words in WORDS.values()] * 3, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(first, second) for first, second in model["merges"]]
