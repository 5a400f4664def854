"""Which proxy leads to a hub, by the variables that every program knows."""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from yarl import URL

from compute_functions.errors import ConfigurationError


def proxy_for(url: URL) -> URL | None:
    """Return the proxy that `https_proxy` and `no_proxy` name for an address, if any.

    aiohttp would look itself, but under `wss_proxy` for such addresses, and it would also take the
    host's password from ~/.netrc in place of the credential.
    """
    # With its port, since `no_proxy` may name one.
    if url.host is None or proxy_bypass(f"{url.host}:{url.port}"):
        return None
    found = getproxies().get("https" if url.scheme in {"https", "wss"} else "http")
    if not found:
        return None
    try:
        proxy = URL(found if "://" in found else f"http://{found}")
    except ValueError:
        # Not as a cause: its text may repeat the address, and the password in it.
        raise ConfigurationError("https_proxy or http_proxy is no address") from None
    if proxy.scheme not in {"http", "https"}:
        raise ConfigurationError(
            f"https_proxy: a proxy of the kind {proxy.scheme} cannot be used; HTTP ones can"
        )
    return proxy
