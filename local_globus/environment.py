"""The environment variables that point the unmodified Globus SDK and endpoint agent here."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

_SDK_COMPUTE_PORT = 5000


def for_url(url: str) -> dict[str, str]:
    """Return the variables for a local Globus at `url`, as `http://127.0.0.1:5123`.

    The Compute SDK knows one local address, `http://localhost:5000`, and ignores the setting for
    another. On other ports a proxy setting leads that name here. So `no_proxy` must leave out
    `localhost`, and names `127.0.0.1` so that a process's other loopback traffic stays direct.
    Plain HTTP to other hosts comes here as well, if a client obeys the setting, and is refused.
    """
    url = url.rstrip("/")
    variables = {
        "GLOBUS_SDK_ENVIRONMENT": "local",
        "GLOBUS_SDK_SERVICE_URL_AUTH": f"{url}/auth/",
        "GLOBUS_SDK_SERVICE_URL_GROUPS": f"{url}/groups/",
        "GLOBUS_SDK_SERVICE_URL_COMPUTE": f"{url}/",
    }
    if urlsplit(url).port != _SDK_COMPUTE_PORT:
        variables |= {"http_proxy": url, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    return variables


def as_shell(variables: dict[str, str]) -> str:
    """Return the variables as lines that a shell can evaluate."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
