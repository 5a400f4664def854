"""Opens WebSockets to a hub, through the site's proxy if it has one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
from yarl import URL

from compute_functions.contract.frames import MAX_MESSAGE, SUBPROTOCOL
from compute_functions.errors import HubRefused, LinkFailed
from compute_functions.relay import authorities
from compute_functions.relay.proxies import proxy_for
from compute_functions.relay.times import Times

#: The status by which a hub says that it does not speak our version of the protocol.
NO_SUCH_PROTOCOL = 400


class Dialler:
    """Dials hubs: for one relay, or for another that speaks a protocol of its own."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        times: Times,
        context: ssl.SSLContext,
        *,
        protocol: str,
        most_message: int,
    ) -> None:
        self._session = session
        self._times = times
        self._context = context
        self._protocol = protocol
        self._most_message = most_message

    async def dial(self, hub: URL, token: str) -> aiohttp.ClientWebSocketResponse:
        """Return the open WebSocket, or raise `HubRefused` or `LinkFailed`."""
        try:
            async with asyncio.timeout(self._times.dial_s):
                socket = await self._session.ws_connect(
                    hub,
                    protocols=(self._protocol,),
                    headers={"authorization": f"Bearer {token}"},
                    proxy=proxy_for(hub),
                    ssl=self._context,
                    heartbeat=self._times.ping_every_s,
                    timeout=aiohttp.ClientWSTimeout(ws_close=self._times.close_s),
                    # aiohttp refuses what has this many bytes and more.
                    max_msg_size=self._most_message + 1,
                )
        except aiohttp.WSServerHandshakeError as error:
            raise HubRefused(error.status) from error
        except aiohttp.ClientHttpProxyError as error:
            # Its own words hold the proxy's address, and the password in it.
            raise LinkFailed(f"the site's proxy answers {error.status}") from None
        except TimeoutError as error:
            raise LinkFailed(f"no connection within {self._times.dial_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise LinkFailed(str(error)) from error
        if socket.protocol != self._protocol:
            await socket.close()
            raise HubRefused(NO_SUCH_PROTOCOL)
        return socket


@asynccontextmanager
async def dialler(
    times: Times, ca_file: str, *, protocol: str = SUBPROTOCOL, most_message: int = MAX_MESSAGE
) -> AsyncIterator[Dialler]:
    """Open a dialler; it trusts the authorities in `ca_file`, or those of the system."""
    context = await asyncio.to_thread(authorities.trusted, ca_file)
    # No limits of its own: `dial` has one, and what follows lives as long as the link.
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[_no_redirects()]
    ) as session:
        yield Dialler(session, times, context, protocol=protocol, most_message=most_message)


def _no_redirects() -> aiohttp.TraceConfig:
    """Return what keeps a relay to the hubs that its site enrolled with.

    aiohttp follows redirects when it opens a WebSocket, and has no setting for that.
    """
    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(_refuse)
    return config


async def _refuse(
    _session: aiohttp.ClientSession,
    _context: SimpleNamespace,
    redirect: aiohttp.TraceRequestRedirectParams,
) -> None:
    redirect.response.close()
    raise HubRefused(redirect.response.status)
