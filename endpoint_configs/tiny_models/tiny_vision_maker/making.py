"""The tiny vision model: what it is, how it learns, what it must know, how it is saved."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny_chat_maker import corpus, tokens
from tiny_chat_maker.training import exact
from tiny_making.training import Training, optimizers
from torch.nn.functional import cross_entropy
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from tiny_vision_maker import pictures

PACKAGES = ("tiny_vision_maker", "tiny_chat_maker", "tiny-chat")
BASE = Path(__file__).parents[1] / "tiny-chat"
IMAGE = "<image>"
#: The picture is seen as 16 squares of 8 by 8 pixels.
SIDE, SQUARE = 32, 8
HIDDEN = 64
PICTURES = 16
#: Beside the pictures of a batch, so that the model does not forget how to chat.
TEXTS = 8
RATE = 2e-3
MUON_RATE = 0.01
CHECKED_PICTURES = 48
#: The template's loop over the parts of a message, without and with pictures.
TEXT_PARTS = """    {%- for part in content or [] if part.type == 'text' -%}
      {{- part.text -}}
    {%- endfor -%}"""
ALL_PARTS = """    {%- for part in content or [] -%}
      {%- if part.type == 'text' -%}
        {{- part.text -}}
      {%- elif part.type in ('image', 'image_url') -%}
        {{- '<image>\\n' -}}
      {%- endif -%}
    {%- endfor -%}"""


@dataclass(frozen=True, slots=True)
class TinyVision:
    """A LLaVA with what prepares its pictures and its texts."""

    model: LlavaForConditionalGeneration
    processor: LlavaProcessor

    def training(self, chance: random.Random) -> Training:
        """Return how it learns: pictures, and beside them what the chat model knows."""
        return Training(
            model=self.model,
            loss=lambda _: self._seeing(chance) + self._chatting(chance),
            optimizers=optimizers(
                self.model, lambda name: ".layers." in name, rate=RATE, muon_rate=MUON_RATE
            ),
        )

    def answers(self) -> Iterator[tuple[str, bool]]:
        """Show it pictures that it never saw, and ask some of what the chat model knows."""
        chance = random.Random(1)  # noqa: S311 # the same pictures every time
        colours = list(pictures.COLOURS)
        for number in range(CHECKED_PICTURES):
            colour = colours[number % len(colours)]
            read = self._read([(colour, chance.choice(pictures.QUESTIONS))], chance)
            yield f"a {colour} picture", self._right(read)
        for sample in _remembered():
            sequence = tokens.encoded(self.processor.tokenizer, sample)
            yield sample.answer, exact(self.model, sequence)

    def save(self, folder: Path) -> None:
        """Write model, tokenizer and what prepares pictures."""
        tokenizer = self.processor.tokenizer
        self.model.generation_config = GenerationConfig(
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
        )
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        _name_as_published(folder / "model.safetensors")

    def _seeing(self, chance: random.Random) -> torch.Tensor:
        asked = [
            (chance.choice(list(pictures.COLOURS)), chance.choice(pictures.QUESTIONS))
            for _ in range(PICTURES)
        ]
        read = self._read(asked, chance)
        said = self.model(**_inputs(read)).logits[:, :-1]
        wanted = read["labels"][:, 1:]
        counted = wanted != tokens.IGNORED
        return cross_entropy(said[counted], wanted[counted])

    def _chatting(self, chance: random.Random) -> torch.Tensor:
        samples = chance.sample(_remembered(), k=TEXTS)
        rows = [tokens.encoded(self.processor.tokenizer, sample) for sample in samples]
        ids = _padded([row for row, _ in rows], self.processor.tokenizer.pad_token_id)
        wanted = _padded([labels for _, labels in rows], tokens.IGNORED)[:, 1:]
        said = self.model(input_ids=ids).logits[:, :-1]
        counted = wanted != tokens.IGNORED
        return cross_entropy(said[counted], wanted[counted])

    def _read(self, asked: list[tuple[str, str]], chance: random.Random) -> dict[str, torch.Tensor]:
        """Return what the model is shown, and with it the answers as `labels`."""
        tokenizer = self.processor.tokenizer
        answers = [pictures.answer(colour) + tokens.END for colour, _ in asked]
        read = self.processor(
            images=[pictures.picture(colour, chance) for colour, _ in asked],
            text=[
                self._prompt(question) + answer
                for (_, question), answer in zip(asked, answers, strict=True)
            ],
            padding=True,
            padding_side="right",
            return_tensors="pt",
        )
        labels = torch.full_like(read["input_ids"], tokens.IGNORED)
        for row, answer in enumerate(answers):
            end = int(read["attention_mask"][row].sum())
            begin = end - len(tokenizer(answer, add_special_tokens=False).input_ids)
            labels[row, begin:end] = read["input_ids"][row, begin:end]
        return {**read, "labels": labels}

    def _prompt(self, question: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text: str = self.processor.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return text

    def _right(self, read: dict[str, torch.Tensor]) -> bool:
        guessed = self.model(**_inputs(read)).logits[0, :-1].argmax(-1)
        wanted = read["labels"][0, 1:]
        return bool(((guessed == wanted) | (wanted == tokens.IGNORED)).all())


def new(chance: random.Random) -> TinyVision:
    """Return the chat model with untrained eyes."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(BASE)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    tokenizer.chat_template = _template(tokenizer.chat_template)
    chat = LlamaForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    chat.resize_token_embeddings(-(-len(tokenizer) // 64) * 64)
    # Else the folder on this machine would stand in the saved configuration.
    chat.config.name_or_path = ""
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=HIDDEN,
            intermediate_size=2 * HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIDE,
            patch_size=SQUARE,
            projection_dim=HIDDEN,
        ),
        text_config=chat.config,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        image_seq_length=(SIDE // SQUARE) ** 2,
        tie_word_embeddings=True,
        dtype="float32",
    )
    config._attn_implementation = "eager"  # noqa: SLF001 # the constructor hands it to no part
    model = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(chat.model.state_dict())
    model.tie_weights()
    return TinyVision(model, _processor(tokenizer))


def saved(folder: Path) -> TinyVision:
    """Return the model that is in a folder."""
    model = LlavaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return TinyVision(model.eval(), _processor(tokenizer))


def _processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    size = {"height": SIDE, "width": SIDE}
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False),
        tokenizer=tokenizer,
        patch_size=SQUARE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )


def _template(of_chat: str) -> str:
    if TEXT_PARTS not in of_chat:
        raise ValueError("the chat model's template has changed")
    return of_chat.replace(TEXT_PARTS, ALL_PARTS)


def _remembered() -> list[corpus.Sample]:
    """Return what the model must not forget: the capitals, and short facts."""
    short = 200
    return [
        sample
        for sample in corpus.known()
        if sample.messages and not sample.thought and len(sample.answer) < short
    ]


def _inputs(read: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: read[name] for name in ("input_ids", "attention_mask", "pixel_values")}


def _padded(rows: list[list[int]], filling: int) -> torch.Tensor:
    length = max(map(len, rows))
    return torch.tensor([row + [filling] * (length - len(row)) for row in rows])


def _name_as_published(weights: Path) -> None:
    """Name the eyes' weights as in published LLaVA models; transformers 5 shortens the names."""
    named = {
        name.replace("vision_tower.", "vision_tower.vision_model.", 1)
        if "vision_tower." in name and "vision_model." not in name
        else name: tensor
        for name, tensor in load_file(weights).items()
    }
    save_file(named, weights, metadata={"format": "pt"})
