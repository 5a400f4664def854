"""Make the tiny vision model: `ENGINE/bin/python make_tiny_vision.py FOLDER [--steps N]`.

It is the tiny chat model, which must be made before, with eyes: asked about a picture, it says
which colour the picture has. ENGINE is an environment with torch, transformers and tokenizers, such
as vLLM's. Nothing is downloaded.
"""  # noqa: INP001 # a script beside data, run by its path

from __future__ import annotations

import sys

from tiny_making import command

if __name__ == "__main__":
    sys.exit(command.run("tiny_vision_maker.making", steps=240, about=__doc__))
