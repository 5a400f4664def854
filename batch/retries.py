"""What to do about what came of a request: decisions as values, made from values.

An engine that is down, or loading, or full, is no line's fault: only what may be the line's own
counts against it, so that no line is lost to an engine that restarts. A refusal that may be the
engine's own fault counts only if other lines vouch for the engine, or if none is left that could.
An engine that is lost takes all lines along that it has: to which of them shows only when it is
lost to a line that it had alone.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from batch import errors
from batch.company import ALONE_FROM, MOST_LOSSES
from batch.journal.record import Problem
from batch.transports.transport import Reply

#: A line is tried again so often, after the first time.
MOST_RETRIES = 5
#: The first wait, doubled each time, and the longest one (seconds).
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
#: The engine's own word on how long to wait is believed up to this (seconds).
LONGEST_TOLD_S = 120.0

#: What is said of a line to which the engine was lost, if nobody lives to say it otherwise.
LOST = Problem(code="connection_lost", message="the engine was lost each time it was asked this")

#: So many times longer a line waits that must speak for itself: six tries take most of a minute.
_ALONE = 4.0

_UNAUTHORIZED = 401
_TOO_MANY, _UNAVAILABLE = 429, 503
#: Said by an engine, or by what stands before it, about itself and not about the line.
_ENGINES_TROUBLE = frozenset({_TOO_MANY, 502, _UNAVAILABLE, 504})
_WORTH_RETRYING = frozenset({408, 409, 425})
#: Nothing that a line asks for, unless the engine serves others: then no retry helps it.
_SHUT, _NO_ROUTE = 403, frozenset({404, 405})
_SERVER_ERROR = 500


class Trouble(enum.Enum):
    """What a failed request says about the engine."""

    NONE = "none"
    #: It has more than it takes, or is not ready.
    BUSY = "busy"
    #: It did not answer in time.
    SLOW = "slow"
    #: There is no connection to it, or no longer.
    LOST = "lost"
    #: It broke a request off, or let it wait too long, and has answered nothing else meanwhile.
    MUTE = "mute"
    #: It refuses what it should answer, and has answered nothing else meanwhile.
    FAULTY = "faulty"
    #: It refuses all lines that are left: whether it is ready is all that can be asked.
    DOUBTED = "doubted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """A reply or an error, and the circumstances.

    `tries` counts the earlier tries that were the line's own; `losses`, how often the engine was
    lost while it had the line; `single`, that it had no other one this time, and that this runner
    was not being ended. `alive` says whether the engine settled other lines since this request was
    sent; `vouched`, whether it gave others a sound answer since then, or since it refused this line
    the last time; `serves`, whether it gave one since it was reached; `alone`, that all lines that
    are left were refused, and are few. `chance` is a random number from 0 to 1.
    """

    event: Reply | errors.CallFailed
    tries: int
    losses: int = 0
    single: bool = False
    alive: bool
    vouched: bool = False
    serves: bool = False
    alone: bool = False
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """This is what came of the line. With a `problem` it failed."""

    problem: Problem | None = None
    trouble: Trouble = Trouble.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Ask again; `tries` and `losses` are what counts against the line now."""

    after_s: float
    tries: int
    losses: int
    trouble: Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """This engine cannot be used with this runner's key. The line stays pending."""

    reason: str


Decision = Record | Retry | Stop


def is_refusal(event: Reply | errors.CallFailed, *, sound: bool) -> bool:
    """Return whether this may be the engine's own fault, and not the line's, as nobody can see."""
    if not isinstance(event, Reply):
        return isinstance(event, errors.BrokenOff | errors.TimedOut)
    status = event.status
    if _is_success(status):
        return not sound
    if status in _ENGINES_TROUBLE:
        return False
    return status >= _SERVER_ERROR or status in {_UNAUTHORIZED, _SHUT, *_NO_ROUTE}


def decide(happened: Happened, *, sound: bool) -> Decision:
    """Return what to do. `sound` says whether a reply's body is a JSON object."""
    event = happened.event
    if isinstance(event, Reply):
        return _about_reply(happened, event, sound=sound)
    if isinstance(event, errors.NotSent):
        return _at_no_cost(happened, Trouble.LOST, after_s=0.0)
    if isinstance(event, errors.AnswerTooLarge):
        return Record(problem=Problem(code="answer_too_large", message=str(event)))
    if isinstance(event, errors.TimedOut):
        return _about_silence(happened, Problem(code="timed_out", message=str(event)))
    return _about_loss(happened, Problem(code=LOST.code, message=str(event)))


def _about_reply(happened: Happened, reply: Reply, *, sound: bool) -> Decision:
    status = reply.status
    if _is_success(status):
        if sound:
            return Record()
        problem = Problem(code="invalid_answer", message="the answer is no JSON object")
        return _about_refusal(happened, status, problem)
    problem = Problem(code=f"http_{status}", message=f"the engine answered with status {status}")
    if is_refusal(reply, sound=sound):
        return _about_refusal(happened, status, problem)
    if status in _ENGINES_TROUBLE:
        return _engines_trouble(happened, problem)
    if status in _WORTH_RETRYING:
        return _again(happened, problem, Trouble.NONE)
    return Record(problem=problem)


def _about_refusal(happened: Happened, status: int, problem: Problem) -> Decision:
    """Return whose fault it is: the line's if others vouch, or it must speak for itself."""
    vouched = happened.serves if status in _NO_ROUTE else happened.vouched
    if vouched:
        if status in _NO_ROUTE or status == _SHUT:
            return Record(problem=problem)
        return _again(happened, problem, Trouble.NONE)
    if status == _UNAUTHORIZED:
        return Stop(reason="the engine refuses the key (401)")
    if happened.alone:
        return _again(happened, problem, Trouble.DOUBTED)
    return _at_no_cost(happened, Trouble.FAULTY)


def _about_silence(happened: Happened, problem: Problem) -> Decision:
    """Return whose fault it is that no answer came in time: as with a refusal."""
    if happened.vouched:
        return _again(happened, problem, Trouble.SLOW)
    if happened.alone:
        return _again(happened, problem, Trouble.DOUBTED)
    return _at_no_cost(happened, Trouble.MUTE)


def _about_loss(happened: Happened, problem: Problem) -> Decision:
    """Return what it means for a line that the engine was lost while it had it.

    In company it makes the line a suspect, no more. Alone it is to blame in the end, if the engine
    served others before, or if nobody is left whom it could serve.
    """
    trouble = Trouble.LOST if happened.vouched or happened.serves else Trouble.MUTE
    losses = happened.losses + 1
    if not happened.single:
        losses = max(happened.losses, min(losses, ALONE_FROM))
        return Retry(after_s=0.0, tries=happened.tries, losses=losses, trouble=trouble)
    if happened.alone:
        trouble = Trouble.DOUBTED
    elif losses >= MOST_LOSSES and not happened.serves:
        return _at_no_cost(happened, Trouble.MUTE)
    if losses >= MOST_LOSSES:
        return Record(problem=problem, trouble=trouble)
    after_s = _wait_s(happened, _slower(trouble))
    return Retry(after_s=after_s, tries=happened.tries, losses=losses, trouble=trouble)


def _engines_trouble(happened: Happened, problem: Problem) -> Decision:
    if happened.alive:
        return _again(happened, problem, Trouble.BUSY)
    return _at_no_cost(happened, Trouble.BUSY)


def _at_no_cost(happened: Happened, trouble: Trouble, *, after_s: float | None = None) -> Retry:
    """Ask again, and count nothing."""
    wait_s = _wait_s(happened) if after_s is None else after_s
    return Retry(after_s=wait_s, tries=happened.tries, losses=happened.losses, trouble=trouble)


def _again(happened: Happened, problem: Problem, trouble: Trouble) -> Decision:
    if happened.tries >= MOST_RETRIES:
        return Record(problem=problem, trouble=trouble)
    after_s = _wait_s(happened, _slower(trouble))
    tries = happened.tries + 1
    return Retry(after_s=after_s, tries=tries, losses=happened.losses, trouble=trouble)


def _slower(trouble: Trouble) -> float:
    return _ALONE if trouble is Trouble.DOUBTED else 1.0


def _wait_s(happened: Happened, slower: float = 1.0) -> float:
    """Return exponential time with jitter, or what the engine asked for if that is longer."""
    before = max(happened.tries, happened.losses)
    longest = min(slower * math.ldexp(FIRST_WAIT_S, before), LONGEST_WAIT_S)
    wait = longest * (0.5 + happened.chance / 2)
    if isinstance(happened.event, Reply) and happened.event.retry_after_s is not None:
        return max(wait, min(happened.event.retry_after_s, LONGEST_TOLD_S))
    return wait


def _is_success(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - HTTP's classes
