"""What both tiny BERT models share: the tokenizer, the network, the way they are saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tiny_making.training import Loss, Training, optimizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from tiny_bert_maker.subjects import COMMON, SUBJECTS

PACKAGES = ("tiny_bert_maker",)
HIDDEN = 64
LAYERS = 2
CONTEXT = 256
BATCH = 64
RATE = 3e-3
MUON_RATE = 0.02
UNKNOWN = "[UNK]"
CONTROL = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-"


def new_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer in which every word of the subjects is one token."""
    words = sorted({*COMMON, *(word for known in SUBJECTS.values() for word in known)})
    pieces = [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
    # Written down, not trained: a trainer's order differs from one run to the next.
    known = dict.fromkeys([*CONTROL, *pieces, *words])
    vocabulary = {token: number for number, token in enumerate(known)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",  # noqa: S106 # a token of the model's
        unk_token=UNKNOWN,
        cls_token="[CLS]",  # noqa: S106 # likewise
        sep_token="[SEP]",  # noqa: S106 # likewise
        mask_token="[MASK]",  # noqa: S106 # likewise
        model_max_length=CONTEXT,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def new_model(tokenizer: PreTrainedTokenizerFast, labels: Sequence[str]) -> torch.nn.Module:
    """Return an untrained model; with one label it gives a score."""
    config = BertConfig(
        vocab_size=-(-len(tokenizer) // 8) * 8,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=CONTEXT,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
        dtype="float32",
    )
    return BertForSequenceClassification(config)


def training(model: torch.nn.Module, loss: Loss) -> Training:
    """Return a training by `loss`."""
    return Training(
        model=model,
        loss=loss,
        optimizers=optimizers(
            model, lambda name: ".encoder.layer." in name, rate=RATE, muon_rate=MUON_RATE
        ),
    )


def save(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model and tokenizer so that transformers 4 reads them as well."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    # transformers 5 names a class here that 4 does not have; infinity runs on 4.
    settings = json.loads(file.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def load(folder: Path) -> tuple[torch.nn.Module, PreTrainedTokenizerFast]:
    """Return the model and the tokenizer that are in a folder."""
    model = BertForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    return model.eval(), PreTrainedTokenizerFast.from_pretrained(folder)
