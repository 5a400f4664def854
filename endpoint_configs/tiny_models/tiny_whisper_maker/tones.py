"""What the tiny Whisper model listens to: digits as the two tones of a telephone's key (DTMF)."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
#: Of each key, the tone of its row and that of its column (Hz).
KEYS = {
    "1": (697, 1209),
    "2": (697, 1336),
    "3": (697, 1477),
    "4": (770, 1209),
    "5": (770, 1336),
    "6": (770, 1477),
    "7": (852, 1209),
    "8": (852, 1336),
    "9": (852, 1477),
    "0": (941, 1336),
}
#: The loudest noise beside the tones, which are of 0.1 to 0.5.
NOISE = 0.02


def sound(digits: str, chance: random.Random) -> NDArray[np.float32]:
    """Return how somebody presses the keys: in their own time, more or less loud."""
    parts = [_silence(chance.uniform(0.05, 0.4))]
    for digit in digits:
        parts += [_key(digit, chance), _silence(chance.uniform(0.1, 0.2))]
    whole = np.concatenate(parts)
    noise = np.random.default_rng(chance.getrandbits(32)).normal(0, 1, len(whole))
    return (whole + noise * chance.uniform(0, NOISE)).astype(np.float32)


def _key(digit: str, chance: random.Random) -> NDArray[np.float64]:
    low, high = KEYS[digit]
    times = 2 * np.pi * np.arange(int(RATE * chance.uniform(0.15, 0.25))) / RATE
    tones: NDArray[np.float64] = np.sin(low * times) + np.sin(high * times)
    return tones * chance.uniform(0.1, 0.5) / 2


def _silence(seconds: float) -> NDArray[np.float64]:
    return np.zeros(int(RATE * seconds))
