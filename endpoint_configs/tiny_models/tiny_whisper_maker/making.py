"""The tiny Whisper model: what it is, how it learns, what it must know, how it is saved."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tiny_making.training import Training, optimizers
from torch.nn.functional import cross_entropy
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from tiny_whisper_maker import tokens, tones
from tiny_whisper_maker.tokens import Order

PACKAGES = ("tiny_whisper_maker",)
#: Whisper's own window is 30 s, six times the work.
WINDOW_S = 5
#: The encoder sees the window in steps of 20 ms.
POSITIONS = WINDOW_S * 50
CONTEXT = 128
HIDDEN = 64
LAYERS = 2
BATCH = 16
LONGEST = 8
RATE = 3e-3
MUON_RATE = 0.02
#: From this part of the training on, the model also learns to name the language and to say when.
LATE = 0.4
#: Which orders are given, and how often in 10.
ORDERS = {
    Order(): 5,
    Order(language="de"): 3,
    Order(language="de", task=tokens.TRANSLATE): 1,
    Order(task=tokens.TRANSLATE): 1,
}
#: Of ten answers so many have times, late in the training.
TIMED = 3
CHECKED = 24


@dataclass(frozen=True, slots=True)
class TinyWhisper:
    """A Whisper model with its ears and its tokenizer."""

    model: WhisperForConditionalGeneration
    ears: WhisperFeatureExtractor
    tokenizer: WhisperTokenizer

    def training(self, chance: random.Random) -> Training:
        """Return how it learns: longer numbers as time goes on."""
        return Training(
            model=self.model,
            loss=lambda progress: self._loss(progress, chance),
            optimizers=optimizers(
                self.model, lambda name: "layers." in name, rate=RATE, muon_rate=MUON_RATE
            ),
        )

    def answers(self) -> Iterator[tuple[str, bool]]:
        """Have it write down numbers that it never heard, by every order."""
        chance = random.Random(1)  # noqa: S311 # the same numbers every time
        for number, order in enumerate(list(ORDERS) * (CHECKED // len(ORDERS))):
            digits = _digits(chance, 1 + number % LONGEST)
            heard = self._heard(digits, order, chance)
            wanted = tokens.text(digits, order).strip()
            yield f"{order}: {wanted!r}, heard {heard!r}", heard == wanted

    def save(self, folder: Path) -> None:
        """Write model, tokenizer and the settings of the ears."""
        self.model.generation_config = self._generation()
        self.model.save_pretrained(folder)
        WhisperProcessor(feature_extractor=self.ears, tokenizer=self.tokenizer).save_pretrained(
            folder
        )
        # vLLM reads the window from here.
        self.ears.save_pretrained(folder)

    def _loss(self, progress: float, chance: random.Random) -> torch.Tensor:
        late = progress > LATE
        longest = 1 + round(min(1.0, max(0.0, progress - 0.1) * 2) * (LONGEST - 1))
        # Of two lengths the greater: what is longer is harder.
        lengths = [
            max(chance.randint(1, longest), chance.randint(1, longest)) for _ in range(BATCH)
        ]
        numbers = [_digits(chance, length) for length in lengths]
        sounds = [tones.sound(digits, chance) for digits in numbers]
        orders = [_order(chance, late=late) for _ in numbers]
        rows = [
            tokens.sequence(self.tokenizer, digits, order, len(sound) / tones.RATE)
            for digits, order, sound in zip(numbers, orders, sounds, strict=True)
        ]
        taught, counted = self._padded(rows, orders, late=late)
        said = self.model(
            input_features=self._features(sounds), decoder_input_ids=taught[:, :-1]
        ).logits
        return cross_entropy(said[counted[:, 1:]], taught[:, 1:][counted[:, 1:]])

    def _padded(
        self, rows: list[list[int]], orders: list[Order], *, late: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows side by side, and which of their tokens the model must guess."""
        length = max(map(len, rows))
        taught = torch.full((len(rows), length), self.tokenizer.eos_token_id)
        counted = torch.zeros((len(rows), length), dtype=torch.bool)
        for number, (row, order) in enumerate(zip(rows, orders, strict=True)):
            taught[number, : len(row)] = torch.tensor(row)
            # Tones have no language: asked to name it, the model shall say English.
            counted[number, 1] = late and order.language == "en"
            counted[number, 3 if order.times else 4 : len(row)] = True
        return taught, counted

    def _features(self, sounds: list[object]) -> torch.Tensor:
        features: torch.Tensor = self.ears(
            sounds, sampling_rate=tones.RATE, return_tensors="pt"
        ).input_features
        return features

    def _heard(self, digits: str, order: Order, chance: random.Random) -> str:
        features = self._features([tones.sound(digits, chance)])
        encoded = self.model.get_encoder()(features)
        row = tokens.sequence(self.tokenizer, "", order, 0)[:4]
        while len(row) < CONTEXT:
            said = self.model(encoder_outputs=encoded, decoder_input_ids=torch.tensor([row]))
            row.append(int(said.logits[0, -1].argmax()))
            if row[-1] == self.tokenizer.eos_token_id:
                break
        heard: str = self.tokenizer.decode(row, skip_special_tokens=True)
        return heard.strip()

    def _generation(self) -> GenerationConfig:
        id_of = self.tokenizer.convert_tokens_to_ids
        end = self.tokenizer.eos_token_id
        languages = [token for token in tokens.CONTROL if len(token) in {6, 7}]
        return GenerationConfig(
            decoder_start_token_id=id_of(tokens.START),
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
            max_length=CONTEXT - 8,
            no_timestamps_token_id=id_of(tokens.NO_TIMES),
            is_multilingual=True,
            lang_to_id={token: id_of(token) for token in languages},
            task_to_id={
                task: id_of(f"<|{task}|>") for task in (tokens.TRANSCRIBE, tokens.TRANSLATE)
            },
            return_timestamps=False,
            max_initial_timestamp_index=50,
            prev_sot_token_id=id_of(tokens.BEFORE),
        )


def new(chance: random.Random) -> TinyWhisper:
    """Return an untrained model."""
    tokenizer = tokens.new()
    end = tokenizer.eos_token_id
    config = WhisperConfig(
        vocab_size=-(-len(tokenizer) // 8) * 8,
        num_mel_bins=80,
        d_model=HIDDEN,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=2 * HIDDEN,
        decoder_ffn_dim=2 * HIDDEN,
        max_source_positions=POSITIONS,
        max_target_positions=CONTEXT,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids(tokens.START),
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        begin_suppress_tokens=None,
        suppress_tokens=None,
        attn_implementation="eager",
        dtype="float32",
    )
    ears = WhisperFeatureExtractor(feature_size=80, sampling_rate=tones.RATE, chunk_length=WINDOW_S)
    return TinyWhisper(WhisperForConditionalGeneration(config), ears, tokenizer)


def saved(folder: Path) -> TinyWhisper:
    """Return the model that is in a folder."""
    model = WhisperForConditionalGeneration.from_pretrained(folder, attn_implementation="eager")
    processor = WhisperProcessor.from_pretrained(folder)
    return TinyWhisper(model.eval(), processor.feature_extractor, processor.tokenizer)


def _digits(chance: random.Random, length: int) -> str:
    return "".join(chance.choices("0123456789", k=length))


def _order(chance: random.Random, *, late: bool) -> Order:
    (order,) = chance.choices(list(ORDERS), weights=list(ORDERS.values()))
    times = late and chance.randrange(10) < TIMED
    return Order(language=order.language, task=order.task, times=times)
