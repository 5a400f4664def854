"""What load balancers and Prometheus ask by a machine's address, under no name of the service."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

#: These answer with nothing that depends on the host, and point to no URL.
PATHS = frozenset(
    {
        *("/health", "/ready", "/metrics"),
        *("/resource_server/health", "/resource_server/ready"),
    }
)


def is_probe(path: str, host: str | None) -> bool:
    """Tell whether a request with this `Host` is answered though no setting names the host.

    Only for a bare address: no page of a foreign name can make a browser send that.
    """
    if path not in PATHS or not host:
        return False
    try:
        ip_address(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
    return True
