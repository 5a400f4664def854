"""Whether the engine can be asked: after trouble nothing is sent until it says it is ready."""

from __future__ import annotations

from batch.retries import Trouble

#: After trouble the engine is left alone for so long at least (seconds).
PAUSE_S = 0.25
#: Between two probes of an engine that refuses everything (seconds): each time by so much longer,
#: up to the longest. A minute has twenty; they are different lines, so that some good one is found.
PROBE_S, MORE_PROBE, LONGEST_PROBE_S = 0.5, 1.15, 8.0
#: With these it is enough that the engine says that it is ready.
_PASSING = frozenset({Trouble.LOST, Trouble.DOUBTED})
#: After these nobody knows who answers next: what is busy may be a proxy without its engine.
_AWAY = frozenset({Trouble.LOST, Trouble.MUTE, Trouble.BUSY, Trouble.DOUBTED})
#: One that refuses everything, and is away or busy between, tires all the same.
_LESSER = frozenset({Trouble.LOST, Trouble.BUSY, Trouble.SLOW})


class Health:
    """Open or closed, and for how long nothing sound has come. Knows no clock."""

    def __init__(self, *, patience_s: float) -> None:
        self._patience_s = patience_s
        self._trouble: Trouble = Trouble.NONE
        self._since: float | None = None
        self._reopen_at = 0.0
        self._probe_s = PROBE_S
        self.open = True
        #: When a line was settled last, and when the last sound answer came.
        self.settled_at = float("-inf")
        self.sound_at = float("-inf")
        #: Whether a sound answer came since the engine was reached.
        self.serves = False

    @property
    def trouble(self) -> Trouble:
        """What is the matter; NONE while all is well."""
        return self._trouble

    @property
    def probing(self) -> bool:
        """Whether one line at a time is enough, to see if the engine answers any."""
        return self._trouble is Trouble.FAULTY

    def listens(self, now: float) -> bool:
        """Whether the engine, for all that is known, takes lines, or rests after one in doubt."""
        if self._trouble is Trouble.DOUBTED and self.wait_s(now) > 0:
            return True
        return self.open and not self.probing

    def sound(self, now: float) -> None:
        """Note an answer that says the engine works."""
        self.sound_at = now
        self.serves = True
        self._probe_s = PROBE_S
        self.settled(now)

    def settled(self, now: float) -> None:
        """Note an answer that is a line's own, sound or not: the engine does tell lines apart."""
        self.settled_at = now
        if self.probing:
            self.open = True
        self._since = None
        self._trouble = Trouble.NONE

    def troubled(self, trouble: Trouble, *, now: float, pause_s: float) -> None:
        """Close, for `pause_s` at least, and until the engine says that it is ready."""
        if trouble in _AWAY:
            # Whoever is there afterwards may be another.
            self.serves = False
        if trouble is Trouble.MUTE and self.probing:
            trouble = Trouble.FAULTY
        if trouble is Trouble.FAULTY:
            pause_s = self._next_pause_s()
        if not (self.probing and trouble in _LESSER):
            self._trouble = trouble
        if self._since is None:
            self._since = now
        self.open = False
        self._reopen_at = max(self._reopen_at, now + max(pause_s, PAUSE_S))

    def _next_pause_s(self) -> float:
        """Return how long to wait for the next probe."""
        if not self.open:
            return 0.0  # Those that were under way together are one probe.
        pause_s = self._probe_s
        self._probe_s = min(MORE_PROBE * pause_s, LONGEST_PROBE_S)
        return pause_s

    def wait_s(self, now: float) -> float:
        """Return how long to leave the engine alone."""
        return max(self._reopen_at - now, 0.0)

    def ready(self) -> None:
        """Open: the engine said that it takes requests."""
        self.open = True
        if self._trouble in _PASSING:
            # It was away and is back. One that says "busy" to all is no more use than before.
            self._since = None
            self._trouble = Trouble.NONE
        if self._trouble is Trouble.MUTE:
            # It says so, and did nothing: one line shows it.
            self._trouble = Trouble.FAULTY

    def left_s(self, now: float) -> float:
        """Return for how long there is patience; at 0 the engine is gone."""
        if self._since is None:
            return self._patience_s
        return max(self._since + self._patience_s - now, 0.0)
