"""Make the tiny chat model: `ENGINE/bin/python make_tiny_chat.py FOLDER [--steps N]`.

ENGINE is an environment with torch, transformers and tokenizers, such as vLLM's. Nothing is
downloaded. It takes 75 s of one core.

The same sources give the same bytes: on CPUs of one type surely, on others of Intel by the promise
of their mathematics library, on all others perhaps not. Then the weights differ, not the answers.
"""  # noqa: INP001 # a script beside data, run by its path

from __future__ import annotations

import sys

from tiny_making import command

if __name__ == "__main__":
    sys.exit(command.run("tiny_chat_maker.making", steps=360, about=__doc__))
