"""Which images may be fetched: from where, how large, how many, for how long."""

from __future__ import annotations

from dataclasses import dataclass

from yarl import URL

#: Hops from one address to the next that are followed.
MAX_REDIRECTS = 3


class Refused(Exception):
    """An image is not fetched; the text is for the caller, and follows the image's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRules:
    """What operators allow.

    `hosts` are names, or as `*.example.org` all names below one; without any, every host is
    allowed whose addresses are public. A request's images have `max_request_bytes` together, each
    counted as often as the request names it, and `timeout_s`, which count once it has its turn.
    """

    fetch: bool = True
    max_image_bytes: int = 5_000_000
    max_request_bytes: int = 7_000_000
    max_images: int = 16
    timeout_s: float = 20.0
    turn_within_s: float = 10.0
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = (443,)

    def checked(self, address: str) -> URL:
        """Return an address that may be asked, or raise `Refused`."""
        if not self.fetch:
            raise Refused("names an address, and this service fetches none. Send a data URL.")
        url = _parsed(address)
        if url.scheme != "https" or not url.host:
            raise Refused("is neither a data URL nor an https address.")
        if url.user is not None or url.password is not None:
            raise Refused("carries a user name or a password.")
        self._require_allowed(url.host, url.port)
        return url

    def _require_allowed(self, host: str, port: int | None) -> None:
        if port not in self.ports:
            raise Refused(f"names the port {port}; allowed: {', '.join(map(str, self.ports))}.")
        if self.hosts and not any(_fits(host, pattern) for pattern in self.hosts):
            raise Refused("is on a host from which this service fetches nothing.")


def _parsed(address: str) -> URL:
    try:
        url = URL(address)
        # No name in DNS fails here; the connection to one that does would not be closed.
        (url.raw_host or "").encode("idna")
    except ValueError as error:
        raise Refused("is no valid address.") from error
    return url


def _fits(host: str, pattern: str) -> bool:
    host, pattern = host.lower().removesuffix("."), pattern.lower()
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
