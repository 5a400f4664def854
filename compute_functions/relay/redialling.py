"""How a hub is dialled again whenever a link to it ends: with what token, after what pause."""

from __future__ import annotations

import logging
import time

import aiohttp
from aiohttp.http import WSCloseCode
from yarl import URL

from compute_functions.errors import HubRefused
from compute_functions.relay.credentials import Bearer, CredentialSource
from compute_functions.relay.pauses import Pauses
from compute_functions.relay.times import Times

UNAUTHORIZED, TOO_MANY, SERVER_ERRORS = 401, 429, 500
#: The reason of a close is cut by the WebSocket protocol (bytes).
_REASON_LENGTH = 120


class Redialling:
    """What is kept of a hub from one link to the next. `log` is told how links end."""

    def __init__(
        self, hub: URL, *, credentials: CredentialSource, times: Times, log: logging.Logger
    ) -> None:
        self.bearer = Bearer(credentials)
        self._hub = hub
        self._times = times
        self._pauses = Pauses(times)
        self._log = log
        self._opened_at: float | None = None
        self._last_told = ""

    async def token(self) -> str:
        """Begin an attempt: return the token for it."""
        self._opened_at = None
        return await self.bearer.token()

    def opened(self) -> None:
        """Note that the hub has taken the link."""
        self._opened_at = time.monotonic()
        self._last_told = ""

    def refused(self, event: str, refused: HubRefused) -> float:
        """Tell of a refusal; return the pause before the next attempt (seconds)."""
        if refused.status == UNAUTHORIZED and self.bearer.refused():
            return 0.0  # The session was not good any more: the next token is a new credential.
        self.tell(event, refused)
        if refused.status == TOO_MANY or refused.status >= SERVER_ERRORS:
            return self._pauses.next()
        return self._pauses.refused()

    def ended(self) -> float:
        """Return the pause after a link that ended, or was not opened (seconds)."""
        at = self._opened_at
        if at is not None and time.monotonic() - at > self._times.steady_s:
            self._pauses.reset()
        return self._pauses.next()

    def tell(self, event: str, error: Exception) -> None:
        """Log what happens to the link; what goes on happening is not worth another line."""
        text = f"{event} hub={self._hub} error={error}"
        level = logging.DEBUG if text == self._last_told else logging.WARNING
        self._log.log(level, "%s", text)
        self._last_told = text


async def close_as_broken(socket: aiohttp.ClientWebSocketResponse, error: Exception) -> None:
    """Close a link on which one side said what the protocol does not know."""
    reason = str(error).encode()[:_REASON_LENGTH]
    await socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=reason)
