"""A sound for the tiny Whisper model: the tones of a telephone's keys (DTMF), as a WAV file."""

from __future__ import annotations

import array
import io
import math
import sys
import wave
from collections.abc import Iterator

RATE = 16_000
#: How long a key is held, and what is between two (seconds).
KEY_S, PAUSE_S = 0.2, 0.15
LOUDNESS = 0.3
_ROWS = {"123": 697, "456": 770, "789": 852, "0": 941}
_COLUMNS = {"147": 1209, "2580": 1336, "369": 1477}
_FULL_SCALE = 32_767


def wav(digits: str, *, rate: int = RATE) -> bytes:
    """Return how the digits sound when their keys are pressed one after the other."""
    samples = array.array("h", (round(value * _FULL_SCALE) for value in _sound(digits, rate)))
    if sys.byteorder == "big":
        samples.byteswap()
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def _sound(digits: str, rate: int) -> Iterator[float]:
    pause = [0.0] * round(PAUSE_S * rate)
    yield from pause
    for digit in digits:
        low, high = _tone(_ROWS, digit), _tone(_COLUMNS, digit)
        for number in range(round(KEY_S * rate)):
            turn = 2 * math.pi * number / rate
            yield LOUDNESS * (math.sin(low * turn) + math.sin(high * turn)) / 2
        yield from pause


def _tone(tones: dict[str, int], digit: str) -> int:
    return next(tone for digits, tone in tones.items() if digit in digits)
