"""The errors of batches, split by who can do something about them.

BatchError
├── InputRefused          the input file is not one that can be run: its maker must mend it
├── InputUnreadable       the file system did not give what the file holds: try again
├── KeyUnreadable         the file with the engine's key cannot be read: a wrong argument
├── AtWork                another runner seems to be at work: wait for it, or say that you take over
├── TakenOver             another runner has a higher epoch: leave everything to it
├── DiskFailed            the batch folder refused, or did not answer in time: resume later
├── Withheld              one request was not sent: it was not its turn any more
├── EngineGone            the engine answered nothing for too long: resume later
│   └── EngineFaulty          it answers, and refuses everything: resume later, or elsewhere
│       └── KeyRefused            it wants another key: resume with that
└── CallFailed            one request got no answer
    ├── NotSent               nothing was sent: there was no connection
    ├── BrokenOff             it was sent, or a part of it, and no whole answer came
    ├── TimedOut              no whole answer came in time
    └── AnswerTooLarge
"""

from __future__ import annotations

from batch.line_error import LineError


class BatchError(Exception):
    """Something about a batch did not work."""


class InputRefused(BatchError):
    """The input file is not one that can be run; `error` says why."""

    def __init__(self, error: LineError) -> None:
        super().__init__(error.message)
        self.error = error


class InputUnreadable(BatchError):
    """The file system did not give what the input file holds. Trying again may help."""


class KeyUnreadable(BatchError):
    """The file with the engine's key cannot be read."""


class AtWork(BatchError):
    """A runner told something a moment ago, and would be taken over."""

    def __init__(self, silent_s: float) -> None:
        super().__init__(
            f"a runner seems to be at work there: it told its progress {silent_s:.0f} s ago. "
            "This one would take its turn, and not go on with it; give --epoch if you want that"
        )


class TakenOver(BatchError):
    """Another runner has taken a higher epoch."""

    def __init__(self, own: int, highest: int) -> None:
        super().__init__(f"epoch {own} was taken over by epoch {highest}")
        self.own = own
        self.highest = highest


class DiskFailed(BatchError):
    """The batch folder refused, or did not answer in time. What was recorded is safe."""


class Left(BatchError):
    """The runner was asked to leave before the end. What is not recorded is pending."""


class Withheld(BatchError):
    """A request was not sent, because nobody knew any more whether it still should be."""


class EngineGone(BatchError):
    """The engine cannot be used for now. What is not recorded is pending."""


class EngineFaulty(EngineGone):
    """The engine answers, and refuses what it should do. What is not recorded is pending."""


class KeyRefused(EngineFaulty):
    """The engine refuses the key, or that there is none. What is not recorded is pending."""


class CallFailed(BatchError):
    """One request to the engine got no answer."""


class NotSent(CallFailed):
    """There was no connection to the engine: it has heard nothing of the request."""


class BrokenOff(CallFailed):
    """The connection was lost after the request was sent, or a part of it."""


class TimedOut(CallFailed):
    """No whole answer came in time."""


class AnswerTooLarge(CallFailed):
    """The answer is longer than may be recorded."""
