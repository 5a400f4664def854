"""The account that a server runs as: our own, or an unprivileged one where it refuses root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: Exists on every Debian machine and owns nothing.
_UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Numeric ids of an account on this machine."""

    uid: int
    gid: int

    @property
    def ours(self) -> bool:
        """Whether this process runs as the account already."""
        return self.uid == os.geteuid()

    def run(self, *arguments: str, at_our_death: signal.Signals = signal.SIGTERM) -> Sequence[str]:
        """Return a command line that runs as this account and gets that signal when we end.

        A change of account clears the wish for a signal, so that `setpriv` states it again.
        """
        wish = f"--pdeathsig={at_our_death.name.removeprefix('SIG')}"
        if self.ours:
            return ["setpriv", wish, "--", *arguments]
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return ["setpriv", *ids, wish, "--", *arguments]

    @contextmanager
    def home(self, folder: Path) -> Iterator[Path]:
        """Lend a folder of the account's own: `folder`, or one that the account can reach.

        A folder below another person's private one (as pytest's, when we are root) is out of
        reach; a temporary folder takes its place and is removed in the end.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self.ours or self._reaches(folder):
            yield self._own(folder)
            return
        elsewhere = Path(tempfile.mkdtemp(prefix=f"hotnode-{folder.name}-"))
        try:
            yield self._own(elsewhere)
        finally:
            shutil.rmtree(elsewhere)

    def _reaches(self, folder: Path) -> bool:
        parents = (parent.stat() for parent in folder.resolve().parents)
        return all(parent.st_mode & 0o001 for parent in parents)

    def give(self, path: Path) -> None:
        """Make the account the owner of a file or folder."""
        if not self.ours:
            os.chown(path, self.uid, self.gid)

    def _own(self, folder: Path) -> Path:
        self.give(folder)
        folder.chmod(0o700)
        return folder


def current() -> Account:
    """Return the account that this process runs as."""
    return Account(uid=os.geteuid(), gid=os.getegid())


def unprivileged() -> Account:
    """Return our own account, or one without rights if ours is root's."""
    ours = current()
    if ours.uid != 0:
        return ours
    entry = pwd.getpwnam(_UNPRIVILEGED)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)
