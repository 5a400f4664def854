"""Which proxy leads to an address, by the variables that every program knows."""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from yarl import URL

from resource_server.adapters.direct.files import FilesUnusable


def proxy_for(url: URL) -> URL | None:
    """Return the proxy that `https_proxy`, `http_proxy` and `no_proxy` name, if any.

    aiohttp would look itself, but also take a host's password from ~/.netrc in place of the key.
    Raises `FilesUnusable` if what they name is no HTTP proxy.
    """
    # With its port, since `no_proxy` may name one.
    if url.host is None or proxy_bypass(f"{url.host}:{url.port}"):
        return None
    found = getproxies().get(url.scheme)
    if not found:
        return None
    try:
        proxy = URL(found if "://" in found else f"http://{found}")
    except ValueError:
        # Not as a cause: its text may repeat the address, and the password in it.
        raise FilesUnusable(f"{url.scheme}_proxy is no address") from None
    if proxy.scheme not in {"http", "https"}:
        raise FilesUnusable(f"{url.scheme}_proxy is no HTTP proxy")
    return proxy
