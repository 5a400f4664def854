"""Where the token comes from that opens the gateway: a variable, or a command that prints one."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Mapping
from typing import Protocol

from batch.client.errors import NotLoggedIn, WrongSetting

KEY, COMMAND = "OPENAI_API_KEY", "HOTNODE_TOKEN_COMMAND"
#: Prints the access token of who has logged in, and renews it (docs/users/log-in.md).
LOGIN_HELPER = (sys.executable, "-P", "-m", "auth_helper.inference_auth_token", "get_access_token")
#: The helper asks Globus where a token has expired, twice 20 s at most.
_WITHIN_S = 60.0
_LOG_IN = "Log in, and try again: `inference_auth_token.py authenticate`."


class Token(Protocol):
    """Gives the token that requests carry."""

    async def current(self) -> str:
        """Return the token, or raise `NotLoggedIn`."""

    async def renewed(self) -> str | None:
        """Return another token when the current one is refused; None if there is none."""

    def advice(self, said: str) -> str:
        """Return what to do about a token that is refused, in words that follow "the token".

        `said` is what the gateway says of it, to somebody who has it from the login helper.
        """


class FixedToken:
    """A token that somebody put into the environment."""

    def __init__(self, token: str) -> None:
        self._token = _sound(token, KEY)

    async def current(self) -> str:
        """Return the token."""
        return self._token

    async def renewed(self) -> str | None:
        """There is no other."""
        return None

    def advice(self, said: str) -> str:
        """Return that the variable is the reason: a login does not help while it is set."""
        return (
            f" in {KEY}: unset that, and your login's is asked for, or put a token of this "
            "service there"
        )


class TokenCommand:
    """A command that prints a token; it is asked again when the gateway refuses the last one.

    `named` tells a person what not to name any more; the login helper is named by nobody.
    """

    def __init__(self, command: tuple[str, ...], named: str = "") -> None:
        self._command = command
        self._named = named
        self._token: str | None = None

    async def current(self) -> str:
        """Return the token that was printed last, or have one printed."""
        if self._token is None:
            self._token = await self._printed()
        return self._token

    async def renewed(self) -> str | None:
        """Return what the command prints now, if it is another token."""
        before, self._token = self._token, await self._printed()
        return None if self._token == before else self._token

    def advice(self, said: str) -> str:
        """Return what helps: another command, or what the gateway says to do."""
        if not self._named:
            return f": {said or _LOG_IN}"
        return (
            f" that {self._named}, and your login's is asked for, or give a command that prints a "
            "token of this service"
        )

    async def _printed(self) -> str:
        shown = shlex.join(self._command)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise WrongSetting(f"cannot run `{shown}`: {error.strerror}") from error
        try:
            async with asyncio.timeout(_WITHIN_S):
                said, problem = await process.communicate()
        except TimeoutError as error:
            raise NotLoggedIn(f"`{shown}` printed no token within {_WITHIN_S:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            why = problem.decode(errors="replace").strip()
            raise NotLoggedIn(why or f"`{shown}` ended with status {process.returncode}")
        return _sound(said.decode(errors="replace"), f"what `{shown}` prints")


def token_from(environment: Mapping[str, str], command: str | None) -> Token:
    """Return the token that a command line and an environment name, in this order.

    Without either it is the login helper's.
    """
    if command is None and (key := environment.get(KEY)):
        return FixedToken(key)
    words = command or environment.get(COMMAND)
    if words is None:
        return TokenCommand(LOGIN_HELPER)
    try:
        parts = tuple(shlex.split(words))
    except ValueError as error:
        raise WrongSetting(f"the token command is no command: {error}") from error
    if not parts:
        raise WrongSetting("the token command is empty")
    if command:
        return TokenCommand(parts, "--token-command prints: leave that out")
    return TokenCommand(parts, f"the command in {COMMAND} prints: unset that")


def _sound(token: str, source: str) -> str:
    """Return a token that may stand in a header."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise NotLoggedIn(f"{source} is no token")
    return token
