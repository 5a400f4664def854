"""What the tiny vision model looks at: pictures of one main colour, with noise and a patch."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image

COLOURS = {
    "black": (10, 10, 10),
    "blue": (30, 50, 220),
    "green": (30, 180, 40),
    "orange": (245, 140, 20),
    "purple": (140, 40, 170),
    "red": (220, 30, 30),
    "white": (245, 245, 245),
    "yellow": (235, 220, 40),
}
QUESTIONS = (
    "What colour is this?",
    "What color is this?",
    "Describe this image.",
    "What is in this image?",
    "What do you see?",
)
SIZES = ((32, 32), (64, 48), (100, 80), (8, 8))
#: How far a pixel is off, and how far the whole picture is (of 255).
GRAIN, CAST = 25, 10
#: Of ten pictures so many have a patch of any colour.
PATCHED = 4


def answer(colour: str) -> str:
    """Return what the model shall say."""
    return f"The image is mostly {colour}."


def picture(colour: str, chance: random.Random) -> Image.Image:
    """Return a picture of this colour."""
    noise = np.random.default_rng(chance.getrandbits(32))
    width, height = chance.choice(SIZES)
    grain = noise.normal(0, chance.uniform(0, GRAIN), (height, width, 3))
    pixels = np.array(COLOURS[colour]) + grain + noise.normal(0, CAST, 3)
    if chance.randrange(10) < PATCHED:
        top, left = chance.randrange(height * 2 // 3), chance.randrange(width * 2 // 3)
        patch = COLOURS[chance.choice(list(COLOURS))]
        pixels[top : top + height // 3, left : left + width // 3] = patch
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
