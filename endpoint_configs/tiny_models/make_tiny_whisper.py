"""Make the tiny Whisper model: `ENGINE/bin/python make_tiny_whisper.py FOLDER [--steps N]`.

It writes down the digits that it hears as the tones of a telephone's keys, in English or German,
and translates them into English. ENGINE is an environment with torch, transformers and tokenizers,
such as vLLM's. Nothing is downloaded.
"""  # noqa: INP001 # a script beside data, run by its path

from __future__ import annotations

import sys

from tiny_making import command

if __name__ == "__main__":
    sys.exit(command.run("tiny_whisper_maker.making", steps=1000, about=__doc__))
