"""Make the tiny reranker: `ENGINE/bin/python make_tiny_reranker.py FOLDER [--steps N]`.

It scores how well a document fits a question: well if both are about the same subject.
ENGINE is an environment with torch, transformers and tokenizers, such as vLLM's. Nothing is
downloaded.
"""  # noqa: INP001 # a script beside data, run by its path

from __future__ import annotations

import sys

from tiny_making import command

if __name__ == "__main__":
    sys.exit(command.run("tiny_bert_maker.reranker", steps=300, about=__doc__))
