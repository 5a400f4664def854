"""How long a relay waits before it dials again: at once, then longer and longer."""

from __future__ import annotations

import random

from compute_functions.relay.times import Times


class Pauses:
    """The pauses between attempts at one hub; jittered, so that relays do not come all at once."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._attempts = 0

    def next(self) -> float:
        """Return the pause before the next attempt (seconds)."""
        attempts, self._attempts = self._attempts, self._attempts + 1
        if attempts == 0:
            return 0.0
        # The exponent is bounded: two to the power of a week of attempts is no float.
        doubled = self._times.first_pause_s * 2 ** min(attempts - 1, 16)
        return _jittered(min(doubled, self._times.longest_pause_s))

    def refused(self) -> float:
        """Return the pause after a refusal that an operator must mend (seconds)."""
        return _jittered(self._times.refused_pause_s)

    def reset(self) -> None:
        """Begin anew, after a link that held."""
        self._attempts = 0


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 # no secret
