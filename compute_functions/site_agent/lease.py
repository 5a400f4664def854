"""The lease that makes one agent of several the one that acts, kept in the site's directory.

File locks cannot be trusted on shared disks; that a name is made only once can. So each holder has
a file of its own, `lease.<fence>.json`, made by a link that fails where the name is taken, and the
one with the highest number holds the lease. It writes its file anew while it lives. Who waits sees
whether the file changes, by its own clock: those of the hosts may differ.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compute_functions import private_file, processes
from compute_functions.errors import LeaseLost

#: A lease lasts so long after it was renewed; its holder renews it far more often (seconds).
TERM_S = 10.0
#: Who waits gives the holder so much longer: the disk may be slow to show what was written (s).
MARGIN_S = 2.0
_NAME = re.compile(r"lease\.(\d+)\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds the lease, as its file says; `pid` and `pid_start` name a process of `host`."""

    fence: int
    host: str
    pid: int
    pid_start: int
    started_at: float

    @property
    def is_gone(self) -> bool:
        """Whether it is a process of this host that has ended."""
        return self.host == socket.gethostname() and not processes.lives(self.pid, self.pid_start)


class Lease:
    """One agent's way to the lease. No method waits, except for the disk."""

    def __init__(
        self, folder: Path, *, term_s: float = TERM_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._term_s = term_s
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._fence = 0
        self._good_until = 0.0
        self._started_at = time.time()
        #: What stood in the present holder's file, and when we first saw that.
        self._seen = (b"", 0.0)

    @property
    def fence(self) -> int:
        """Our number; 0 while we hold nothing."""
        return self._fence

    def holder(self) -> Holder | None:
        """Return who holds the lease, or held it last; None if nobody ever did."""
        fence = self._highest()
        try:
            return _holder(self._file(fence).read_bytes(), fence) if fence else None
        except FileNotFoundError:
            return None

    def acquire(self, *, above: int = 0) -> bool:
        """Take the lease, under a number `above` this one, if it is free; call again until it is.

        The number matters where the files were lost and jobs know higher ones.
        """
        highest = self._highest()
        if highest and not self._is_over(highest):
            return False
        began = self._clock()
        fence = max(highest, above) + 1
        draft = self._folder / f".lease.{self._token}"
        private_file.write(draft, self._content(fence))
        try:
            # Fails if another agent was faster; the content is whole from the first moment.
            os.link(draft, self._file(fence))
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        self._fence = fence
        self._good_until = began + self._term_s
        self._forget_before(highest)
        return True

    def renew(self) -> None:
        """Begin another term; raises `LeaseLost`."""
        self.require()
        # Another thread may find it lost meanwhile.
        began, fence = self._clock(), self._fence
        private_file.write(self._file(fence), self._content(fence))
        self._good_until = began + self._term_s

    def require(self) -> None:
        """Return if the lease is ours right now, or raise `LeaseLost`: before every act."""
        self.check_time()
        highest = self._highest()
        if highest > self._fence:
            self._fence, lost = 0, self._fence
            raise LeaseLost(f"lease {lost} was taken over by {highest}")
        # A listing may miss a file that is being replaced.
        if highest < self._fence and not self._file(self._fence).exists():
            self._fence, lost = 0, self._fence
            raise LeaseLost(f"the file of lease {lost} is gone")

    def check_time(self) -> None:
        """Raise `LeaseLost` if our term is over; the disk is not asked."""
        if not self._fence:
            raise LeaseLost("this agent does not hold the site's lease")
        if self._clock() >= self._good_until:
            self._fence, lost = 0, self._fence
            raise LeaseLost(f"lease {lost} was not renewed in time")

    def release(self) -> None:
        """Let the next agent have the lease at once; nothing happens if it is not ours."""
        if not self._fence:
            return
        fence, self._fence = self._fence, 0
        if self._highest() == fence:
            # Its number stays: the next one must be higher.
            private_file.write(self._file(fence), "{}")

    def _is_over(self, fence: int) -> bool:
        """Tell whether the holder has gone, or has not renewed for a term while we watched."""
        path = self._file(fence)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return False  # Somebody is about to remove it: there is a higher one.
        holder = _holder(content, fence)
        if holder is None or holder.is_gone or self._token.encode() in content:
            return True
        now = self._clock()
        if content != self._seen[0]:
            self._seen = (content, now)
        return now - self._seen[1] > self._term_s + MARGIN_S

    def _content(self, fence: int) -> str:
        pid = os.getpid()
        return json.dumps(
            {
                "fence": fence,
                "host": socket.gethostname(),
                "pid": pid,
                "pid_start": processes.started(pid),
                "started_at": self._started_at,
                # So that each renewal is another content.
                "renewed_at": time.time_ns(),
                "token": self._token,
            }
        )

    def _highest(self) -> int:
        found = (_NAME.fullmatch(entry.name) for entry in self._folder.iterdir())
        return max((int(match.group(1)) for match in found if match), default=0)

    def _file(self, fence: int) -> Path:
        return self._folder / f"lease.{fence}.json"

    def _forget_before(self, fence: int) -> None:
        """Remove files of leases before this one; its own stays as long as somebody may look."""
        for entry in self._folder.iterdir():
            match = _NAME.fullmatch(entry.name)
            if match and int(match.group(1)) < fence:
                entry.unlink(missing_ok=True)


def _holder(content: bytes, fence: int) -> Holder | None:
    """Return the holder that a file names; None for one who has let the lease go."""
    try:
        values = json.loads(content)
        return Holder(
            fence=fence,
            host=values["host"],
            pid=values["pid"],
            pid_start=values["pid_start"],
            started_at=values["started_at"],
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
