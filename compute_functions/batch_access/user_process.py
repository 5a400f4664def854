"""One run of `as_user` by another user: asked, waited for so long and no longer, and ended.

What it says may be the word of the person, who owns the process: it is believed for nothing but
that person's own data, no text of it is shown to anybody, and no length of it is taken on trust.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import select
import signal
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from compute_functions.batch_access.as_user import (
    DATA,
    HEAD,
    MOST_DATA,
    PROTOCOL,
    WORD,
    framed,
)
from compute_functions.batch_access.patience import Patience, Pauses
from compute_functions.errors import ConfigurationError, FilesAway, FilesTimedOut

log = logging.getLogger(__name__)

#: No answer is longer (bytes).
_MOST_ANSWER = 4096
#: It ends by itself when its input does; after so long it is killed, and is gone (seconds).
_GRACE_S = 1.0
#: Nothing of ours is for other users.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
#: So much of what `run_as` says on its error output goes into the log (bytes).
_COMPLAINT = 300
#: Why no program at all is started; that passes.
_NO_MORE = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class Ended(Exception):
    """The process has closed a pipe: no more comes, or is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """As which user a program must run, how long it is waited for, and where that is noted."""

    uid: int
    patience: Patience
    pauses: Pauses


class UserProcess:
    """Frames to and from one process. Raises `FilesAway` if it is too slow, or makes no sense."""

    def __init__(self, process: subprocess.Popen[bytes], patience: Patience) -> None:
        assert process.stdin is not None  # noqa: S101 # both are pipes
        assert process.stdout is not None  # noqa: S101
        self._in = process.stdin.fileno()
        self._out = process.stdout.fileno()
        self._left = patience.seconds
        self._rate = patience.bytes_per_s
        self.waited_s = 0.0
        self.moved = 0
        os.set_blocking(self._in, False)

    def tell(self, **values: object) -> None:
        """Tell it a word. One that has ended is heard nevertheless: it says why."""
        with suppress(Ended):
            self._write(framed(WORD, json.dumps(values).encode()))

    def give(self, data: bytes) -> None:
        """Send content; `Ended` if it takes no more."""
        view = memoryview(data)
        for start in range(0, len(view), MOST_DATA):
            self._write(framed(DATA, bytes(view[start : start + MOST_DATA])))

    def word(self) -> Mapping[str, Any]:
        """Return the next word."""
        found = self.frame()
        if isinstance(found, bytes):
            raise _senseless("content where a word belongs")
        return found

    def frame(self) -> bytes | Mapping[str, Any]:
        """Return content, or a word."""
        try:
            kind, length, wanted = HEAD.unpack(self._read(HEAD.size))
            if length > (MOST_DATA if kind == DATA else _MOST_ANSWER):
                raise _senseless("a frame that is too long")
            payload = self._read(length)
        except Ended as error:
            raise _senseless("it ended too early") from error
        if zlib.crc32(payload) != wanted:
            raise _senseless("a frame that is damaged")
        if kind == DATA and payload:
            return payload
        return _word(payload) if kind == WORD else {}

    def _read(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            self._wait(self._out, select.POLLIN)
            block = os.read(self._out, count - len(parts))
            if not block:
                raise Ended
            parts += block
            self._credit(len(block))
        return bytes(parts)

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        while rest:
            self._wait(self._in, select.POLLOUT)
            try:
                written = os.write(self._in, rest)
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise Ended from error
            rest = rest[written:]
            self._credit(written)

    def _credit(self, count: int) -> None:
        self.moved += count
        self._left += count / self._rate

    def _wait(self, descriptor: int, event: int) -> None:
        """Wait for the process; our own time does not count."""
        poll = select.poll()
        poll.register(descriptor, event)
        began = time.monotonic()
        ready = self._left > 0 and poll.poll(self._left * 1000)
        waited_s = time.monotonic() - began
        self._left -= waited_s
        self.waited_s += waited_s
        if not ready:
            raise FilesTimedOut("your account's files did not answer in time; tried again later")


def _senseless(what: str) -> FilesAway:
    log.warning("user_files_broken problem=%r", what)
    return FilesAway("what reads your account's files did not work; tried again later")


def _word(payload: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _senseless("a word that is no JSON") from error
    if not isinstance(found, dict):
        raise _senseless("a word that is no object")
    return found


@contextmanager
def started(command: Sequence[str], run: Run) -> Iterator[UserProcess]:
    """Lend a process that says that it runs as this user; it is told nothing before."""
    process = _begun(command)
    grace_s = _GRACE_S
    found = UserProcess(process, run.patience)
    try:
        _greet(found, process, run.uid)
        yield found
    except FilesTimedOut:
        grace_s = 0.0
        run.pauses.begin(run.uid)
        raise
    except FilesAway:
        run.pauses.broke(run.uid)
        raise
    else:
        run.pauses.worked(run.uid)
    finally:
        run.pauses.waited(run.uid, run.patience, seconds=found.waited_s, count=found.moved)
        _end(process, grace_s, run)


def _begun(command: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 # an argument list of the operators', without a shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    except OSError as error:
        if error.errno in _NO_MORE:
            log.exception("run_as_not_started")
            raise FilesAway("the cluster cannot use your account's files now") from error
        problem = f"batches.run_as: {command[0]} was not started: {error.strerror}"
        raise ConfigurationError(problem) from error


def _greet(found: UserProcess, process: subprocess.Popen[bytes], uid: int) -> None:
    try:
        hello = found.word()
    except FilesAway:
        log.error(  # noqa: TRY400 # a traceback says nothing more
            "run_as_failed uid=%d said=%s", uid, _complaint(process)
        )
        raise
    if hello.get("said") != "hello" or hello.get("protocol") != PROTOCOL:
        raise _senseless(f"as_user is of another version: {PROTOCOL} is needed; install it anew")
    if hello.get("uid") != uid:
        # Nothing is asked of a process that may have other rights.
        log.error("run_as_wrong_user uid=%d", uid)
        raise FilesAway("the cluster cannot use your account's files now; tried again later")


def _complaint(process: subprocess.Popen[bytes]) -> str:
    """Return what the operators' command said, as `sudo` when it refuses."""
    assert process.stderr is not None  # noqa: S101 # it is a pipe
    os.set_blocking(process.stderr.fileno(), False)
    try:
        said = os.read(process.stderr.fileno(), _COMPLAINT)
    except BlockingIOError:
        said = b""
    return ascii(said.decode(errors="replace"))


def _end(process: subprocess.Popen[bytes], grace_s: float, run: Run) -> None:
    """End the process, as far as we may: one of another user ends when its pipes do."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    if _is_gone(process, grace_s):
        return
    log.warning("user_files_process_killed pid=%d", process.pid)
    with suppress(PermissionError, ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if not _is_gone(process, _GRACE_S):
        # Whose end we may not bring about is waited for where that holds nobody up.
        run.pauses.stays(run.uid)
        threading.Thread(
            target=_outlive, args=(process, run), name="batch files", daemon=True
        ).start()


def _outlive(process: subprocess.Popen[bytes], run: Run) -> None:
    process.wait()
    run.pauses.gone(run.uid)


def _is_gone(process: subprocess.Popen[bytes], within_s: float) -> bool:
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True
