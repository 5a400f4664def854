"""Make the tiny classifier: `ENGINE/bin/python make_tiny_classifier.py FOLDER [--steps N]`.

It names the subject of a text: computing, cooking, geography, music, nature or weather.
ENGINE is an environment with torch, transformers and tokenizers, such as vLLM's. Nothing is
downloaded.
"""  # noqa: INP001 # a script beside data, run by its path

from __future__ import annotations

import sys

from tiny_making import command

if __name__ == "__main__":
    sys.exit(command.run("tiny_bert_maker.classifier", steps=120, about=__doc__))
