"""The sounds of a telephone's keys: what is in the file is what was dialled."""

from __future__ import annotations

import array
import io
import math
import wave

import pytest

from lab import tones

LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477)


def strength(samples: array.array[int], tone: int, rate: int) -> float:
    """Return how much of a tone is in the samples (Goertzel)."""
    turns = [2 * math.pi * tone * number / rate for number in range(len(samples))]
    real = sum(sample * math.cos(turn) for sample, turn in zip(samples, turns, strict=True))
    other = sum(sample * math.sin(turn) for sample, turn in zip(samples, turns, strict=True))
    return math.hypot(real, other) / len(samples)


@pytest.mark.parametrize(
    ("digit", "low", "high"),
    [("1", 697, 1209), ("5", 770, 1336), ("9", 852, 1477), ("0", 941, 1336)],
)
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_a_key_sounds_with_its_two_tones(digit: str, low: int, high: int, rate: int) -> None:
    with wave.open(io.BytesIO(tones.wav(digit, rate=rate))) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, rate)
        samples = array.array("h", sound.readframes(sound.getnframes()))

    found = {tone: strength(samples, tone, rate) for tone in (*LOW, *HIGH)}
    assert max(LOW, key=found.__getitem__) == low
    assert max(HIGH, key=found.__getitem__) == high


def test_more_digits_are_longer() -> None:
    lengths = [len(tones.wav(digits)) for digits in ("", "1", "12", "123")]

    assert lengths == sorted(set(lengths))
