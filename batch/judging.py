"""Judges what came of each line, by all that is known of the engine at that moment."""

from __future__ import annotations

import random

from batch import errors, retries
from batch.answers import Body
from batch.asking import Sent
from batch.doubts import Doubts
from batch.health import Health
from batch.journal.record import Problem
from batch.retries import Decision, Happened, Record, Trouble
from batch.transports.transport import Reply

#: So much of an engine's own words stands in a reason (characters).
_MOST_WORDS = 200
_NO_WORDS = Problem(code="", message="")


class Judging:
    """Knows whom the engine refused, and what it settled. Told of every end, in order of time."""

    def __init__(self, health: Health, doubts: Doubts) -> None:
        self._health = health
        self._doubts = doubts
        #: How the engine failed a line last: the words before and behind which lines it fails.
        self._refusal = ("", "")

    @property
    def complaint(self) -> str:
        """What is the matter with the engine, in words that follow its name."""
        if self._health.probing:
            return self._refusal_of("every line")
        return "is busy" if self._health.trouble is Trouble.BUSY else "does not answer"

    @property
    def doubt(self) -> str:
        """Likewise, where all lines that are left were refused, and wait to speak for themselves.

        Empty in other cases.
        """
        if not self._doubts.all_refused or not self._refusal[0]:
            return ""
        serves = self._health.sound_at > float("-inf")
        return self._refusal_of("every line that is left" if serves else "every line")

    def _refusal_of(self, lines: str) -> str:
        verb, words = self._refusal
        return f"{verb} {lines}{words}"

    def ended(
        self, sent: Sent, event: Reply | errors.CallFailed, body: Body, *, now: float
    ) -> tuple[Decision, Happened]:
        """Return what to do about a line, and on what grounds."""
        is_sound = body.values is not None
        # Asked before it is noted that this line was refused again.
        vouched = self._health.sound_at > self._doubts.since(sent.line.number, sent.began)
        if retries.is_refusal(event, sound=is_sound):
            self._doubts.refused(sent.line.number, now)
            self._refusal = _refusal(event, body)
        happened = self._happened(sent, event, vouched=vouched)
        decision = retries.decide(happened, sound=is_sound)
        if isinstance(decision, Record):
            sound = decision.problem is None
            self._doubts.settled(sent.line.number, sound=sound)
            if sound:
                self._health.sound(now)
            elif isinstance(event, Reply) and decision.trouble is Trouble.NONE:
                self._health.settled(now)
        return decision, happened

    def blamed(self, line: int) -> None:
        """Note that a line is recorded as failed for what it did to earlier engines."""
        self._doubts.settled(line, sound=False)

    def _happened(self, sent: Sent, event: Reply | errors.CallFailed, *, vouched: bool) -> Happened:
        health = self._health
        return Happened(
            event=event,
            tries=sent.tries,
            losses=sent.losses,
            single=sent.single,
            alive=health.settled_at > sent.began,
            vouched=vouched,
            serves=health.serves,
            alone=self._doubts.nobody_left,
            chance=random.random(),  # noqa: S311 - only spreads tries over time
        )


def _refusal(event: Reply | errors.CallFailed, body: Body) -> tuple[str, str]:
    """Return how the engine failed a line: the words before and behind which lines it fails."""
    if not isinstance(event, Reply):
        return "leaves", f" without an answer: {str(event)[:_MOST_WORDS]}"
    words = body.problem(_NO_WORDS).message[:_MOST_WORDS]
    return "refuses", f": status {event.status}" + (f", {words}" if words else "")
