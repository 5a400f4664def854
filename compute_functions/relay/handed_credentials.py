"""Credentials that the site's agent signed and left in a file, for an instance that has no key."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import jwt

from compute_functions import private_file
from compute_functions.errors import ConfigurationError
from compute_functions.site import SiteDirectory

#: The agent writes the file when it knows the job's id, and adds to it when it sees few left (s).
WAIT_S = 30.0
LOOK_EVERY_S = 0.5
#: A shared disk that takes longer is away for now (seconds).
READ_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """The file of one instance."""

    path: Path

    @classmethod
    def of(cls, site: SiteDirectory, instance: str) -> Self:
        """Return the file of an instance; it need not be there."""
        return cls(site.credentials / f"{instance}.json")

    def read(self) -> tuple[str, ...]:
        """Return the credentials, used ones included; none if there is no file yet.

        Raises `ConfigurationError` for a file that is none of ours or cannot be read.
        """
        try:
            credentials = json.loads(self.path.read_text(encoding="utf-8"))["credentials"]
            return tuple(_text(each) for each in credentials)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(f"{self.path} holds no credentials: {error}") from error

    def write(self, credentials: tuple[str, ...]) -> None:
        """Replace the credentials."""
        private_file.write(self.path, json.dumps({"credentials": credentials}))


class HandedCredentials:
    """Takes one after the other from the file, which may be written late and added to."""

    def __init__(
        self, file: CredentialFile, *, wait_s: float = WAIT_S, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._file = file
        self._wait_s = wait_s
        self._look_every_s = look_every_s
        self._used: set[str] = set()
        self._unused: tuple[str, ...] = ()
        self._reading: asyncio.Task[tuple[str, ...]] | None = None

    @property
    def left(self) -> int:
        """How many were unused and not expired at the last look."""
        return len(self._unused)

    async def look(self) -> None:
        """Read the file; raises `ConfigurationError` as `CredentialFile.read` does."""
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                found = await self._read()
        except TimeoutError:
            raise ConfigurationError(
                f"{self._file.path} cannot be read within {READ_WITHIN_S:g} s"
            ) from None
        self._unused = tuple(
            each for each in dict.fromkeys(found) if each not in self._used and _is_good(each)
        )

    async def _read(self) -> tuple[str, ...]:
        """Wait for the reading that is under way, if one is: a disk that hangs keeps one thread."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(asyncio.to_thread(self._file.read))
        reading = self._reading
        await asyncio.wait({reading})
        return reading.result()

    async def new(self) -> str:
        """Return one that was never used; waits for it a while, else `ConfigurationError`."""
        until = time.monotonic() + self._wait_s
        while True:
            await self.look()
            if self._unused:
                return self._taken()
            if time.monotonic() > until:
                raise ConfigurationError(
                    f"{self._file.path} holds no unused credential; does the site's agent run?"
                )
            await asyncio.sleep(self._look_every_s)

    def _taken(self) -> str:
        credential, *rest = self._unused
        self._unused = tuple(rest)
        self._used.add(credential)
        return credential


def _is_good(credential: str) -> bool:
    """Tell whether a credential is one, and its time is not over; the hub checks the rest."""
    try:
        claims = jwt.decode(credential, options={"verify_signature": False, "verify_exp": False})
        return float(claims["exp"]) > time.time()
    except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
        return False


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a credential is {type(value).__name__}")
    return value
