"""What a site keeps of its enrolment at a gateway: DIR/relay/relay.json and, beside it, a key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from yarl import URL

from compute_functions import private_file
from compute_functions.errors import ConfigurationError
from compute_functions.site import SiteDirectory

#: Where a hub takes links.
CONNECT_PATH = "/relay/v1/connect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """As which cluster a site's relays report, and to which hubs.

    `ca_file` holds the authorities that may vouch for the hubs; empty: those of the system.
    """

    cluster: str
    hubs: tuple[str, ...]
    ca_file: str = ""

    @classmethod
    def read(cls, site: SiteDirectory) -> Self | None:
        """Return the site's enrolment; None if there is none, which is no error."""
        path = enrolment_file(site)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            hubs = tuple(_text(hub) for hub in values["hubs"])
            ca_file = _text(values["ca_file"]) if "ca_file" in values else ""
            return cls(cluster=_text(values["cluster"]), hubs=hubs, ca_file=ca_file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(
                f"{path} is not what compute_functions.enrol writes; run it again"
            ) from error

    def write(self, site: SiteDirectory) -> None:
        """Replace the file."""
        values = {"cluster": self.cluster, "hubs": self.hubs}
        if self.ca_file:
            values["ca_file"] = self.ca_file
        private_file.write(enrolment_file(site), json.dumps(values, indent=2) + "\n")


def enrolment_file(site: SiteDirectory) -> Path:
    """Return where the enrolment stands."""
    return site.relay / "relay.json"


def key_file(site: SiteDirectory) -> Path:
    """Return where the site's private key stands."""
    return site.relay / "site.key"


def hub_address(text: str, *, insecure: bool) -> str:
    """Return the address that relays dial, made of a hub's, or raise `ConfigurationError`."""
    try:
        url = URL(text.strip())
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no address") from error
    scheme = {"https": "wss", "http": "ws"}.get(url.scheme, url.scheme)
    if scheme not in {"ws", "wss"} or not url.host or url.query_string or url.user:
        raise ConfigurationError(f"{text!r} is no address of a hub, as https://gateway.example.org")
    if scheme == "ws" and not insecure:
        raise ConfigurationError(f"{text!r} is not encrypted; --insecure is for one machine alone")
    url = url.with_scheme(scheme)
    return str(url.with_path(CONNECT_PATH) if url.path in {"", "/"} else url)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(type(value).__name__)
    return value
