"""What all of these commands can be told: which gateway, with which token, and how to talk."""

from __future__ import annotations

import urllib.parse
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping

from batch.client import token
from batch.client.errors import WrongSetting
from batch.commands import numbers

BASE_URL = "OPENAI_BASE_URL"
TIMEOUT_S = 600.0


def add_id(parser: ArgumentParser) -> None:
    """Let a command take the batch that it is about."""
    parser.add_argument("id", type=_id, metavar="ID", help="as `submit` and `list` print it")


def add_to(parser: ArgumentParser) -> None:
    """Let a command take them."""
    gateway = parser.add_argument_group("the gateway")
    gateway.add_argument(
        "--base-url", metavar="URL", help=f"its OpenAI API, ends with /v1 (or {BASE_URL})"
    )
    gateway.add_argument(
        "--token-command",
        metavar="COMMAND",
        help=f"prints the access token (or {token.COMMAND}; else {token.KEY}; else the login's)",
    )
    gateway.add_argument(
        "--timeout",
        type=numbers.seconds,
        default=TIMEOUT_S,
        metavar="S",
        help="how long it may be away (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def base_url(given: Namespace, environment: Mapping[str, str]) -> str:
    """Return the base URL, or raise `WrongSetting`."""
    url: str | None = given.base_url or environment.get(BASE_URL)
    if not url:
        raise WrongSetting(f"no gateway is named: give --base-url, or set {BASE_URL}")
    if not _is_address(url):
        raise WrongSetting(f"{url} is no base URL; one looks like https://gateway/v1")
    return url


def _is_address(url: str) -> bool:
    try:
        place = urllib.parse.urlsplit(url)
        port = place.port
    except ValueError:
        return False
    host = place.hostname or " "
    return place.scheme in {"http", "https"} and " " not in host and port != 0


def _id(text: str) -> str:
    if not text or not text.isprintable():
        raise ArgumentTypeError(f"{text!r} is no batch's id")
    return text


def pair(text: str) -> tuple[str, str]:
    """Read a pair of metadata."""
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
