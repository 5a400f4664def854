"""How long a program of another user is waited for, and how long then it is not asked again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from compute_functions.errors import FilesAway


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """All waits for one run together: so many seconds, and some for each byte that comes or goes.

    So a program that gives a byte now and then is not waited for longer than one that is slow.
    `keeps_others` is whether other people's files wait meanwhile: who was slow is then not asked
    again for as long.
    """

    seconds: float
    bytes_per_s: float
    keeps_others: bool = False


#: While a gateway waits for what becomes of an order: two runs and 32 MiB, within 20 s.
AT_ONCE = Patience(seconds=6.0, bytes_per_s=4 * 1024**2)
#: In the agent's threads.
LATER = Patience(seconds=30.0, bytes_per_s=1024**2, keeps_others=True)

#: Who was waited for in vain is not asked for so long; each time, twice as long (seconds). After
#: the longest time without such a wait it begins anew: one quick answer in between says nothing.
_FIRST_S, _LONGEST_S = 15.0, 600.0
#: A wait up to this is nobody's fault (seconds); nor is one for so many bytes in each second.
_USUAL_S, _USUAL_BYTES_PER_S = 2.0, 8 * 1024**2
#: So many programs of a person may stay that neither ended nor could be killed. Each is a process
#: and a thread of ours.
_MOST_LEFT = 2
#: From so many runs in a row that made no sense, there is a pause after each.
_MOST_BROKEN = 3
_LATE = "your account's files did not answer in time; tried again later"
_BROKEN = "your account's files cannot be used now; tried again later"


@dataclass(slots=True, eq=False)
class Pauses:
    """For whom was waited in vain: such a person must not take the time of all others.

    For several threads.
    """

    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: By user: until when, and how long the last pause was.
    _until: dict[int, tuple[float, float]] = field(default_factory=dict)
    #: By user: until when others come first.
    _turn_at: dict[int, float] = field(default_factory=dict)
    #: By user: how many runs in a row made no sense, and until when there is no other one.
    _broken: dict[int, tuple[int, float]] = field(default_factory=dict)
    _left: dict[int, int] = field(default_factory=dict)

    def require_none(self, uid: int, patience: Patience) -> None:
        """Raise `FilesAway` while this person is not asked."""
        now = self.clock()
        with self._lock:
            until, _ = self._until.get(uid, (now, 0.0))
            if patience.keeps_others:
                until = max(until, self._turn_at.get(uid, now))
            _, broken = self._broken.get(uid, (0, now))
            left = self._left.get(uid, 0)
        if now < until:
            raise FilesAway(_LATE)
        if now < broken:
            raise FilesAway(_BROKEN)
        if left >= _MOST_LEFT:
            raise FilesAway("what used your account's files did not end; tried again later")

    def begin(self, uid: int) -> None:
        """Note that a person was waited for in vain."""
        now = self.clock()
        with self._lock:
            until, last = self._until.get(uid, (now, 0.0))
            if now - until > _LONGEST_S:
                last = 0.0
            pause = min(max(2 * last, _FIRST_S), _LONGEST_S)
            self._until[uid] = now + pause, pause

    def broke(self, uid: int) -> None:
        """Note that a run made no sense: all batches of a person together try it now and then."""
        now = self.clock()
        with self._lock:
            count, _ = self._broken.get(uid, (0, now))
            count = min(count + 1, _MOST_BROKEN)
            self._broken[uid] = count, now + (_FIRST_S if count == _MOST_BROKEN else 0.0)

    def worked(self, uid: int) -> None:
        """Note that a run came to its end."""
        with self._lock:
            self._broken.pop(uid, None)

    def waited(self, uid: int, patience: Patience, *, seconds: float, count: int) -> None:
        """Note how long a person was waited for in one run, in which so many bytes were moved.

        The others have as long, before this one has the next turn.
        """
        too_long = seconds - _USUAL_S - count / _USUAL_BYTES_PER_S
        with self._lock:
            if patience.keeps_others and too_long > 0:
                self._turn_at[uid] = self.clock() + too_long
            else:
                self._turn_at.pop(uid, None)

    def stays(self, uid: int) -> None:
        """Note that a program of this person did not end."""
        with self._lock:
            self._left[uid] = self._left.get(uid, 0) + 1

    def gone(self, uid: int) -> None:
        """Note that one that stayed has ended."""
        with self._lock:
            self._left[uid] -= 1
            if not self._left[uid]:
                del self._left[uid]
