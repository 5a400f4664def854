"""Enrol a site at a gateway, so that its instances' relays may dial the gateway's hubs.

    python -m compute_functions.enrol --site-dir DIR --cluster NAME --hub URL [--hub URL ...]

It makes the site's key, DIR/relay/site.key, unless there is one, writes DIR/relay/relay.json, and
prints what the gateway's file of the cluster must say. Launchers read both when they start; the
key is read for every credential. Only the public key leaves the site.
"""

from __future__ import annotations

import base64
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compute_functions import private_file
from compute_functions.errors import ConfigurationError
from compute_functions.relay import enrolment
from compute_functions.relay.enrolment import Enrolment
from compute_functions.site import SiteDirectory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = ArgumentParser(prog="python -m compute_functions.enrol", description=__doc__)
    parser.add_argument("--site-dir", type=Path, required=True, help="the site's directory")
    parser.add_argument("--cluster", required=True, help="the cluster's name in the catalog")
    parser.add_argument("--hub", action="append", required=True, help="as https://gateway.example")
    parser.add_argument("--ca", type=Path, help="authorities (PEM) for the hubs alone")
    parser.add_argument("--new-key", action="store_true", help="replace the site's key")
    parser.add_argument("--insecure", action="store_true", help="allow ws://, on one machine")
    given = parser.parse_args(arguments)
    try:
        public_key = _enrolled(given)
    except (ConfigurationError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(f'relay: {{public_key: "{public_key}"}}\n')
    return 0


def _enrolled(given: Namespace) -> str:
    """Write the enrolment, and return the public key as the gateway's file has it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", given.cluster):
        raise ConfigurationError(f"{given.cluster!r} is no cluster's name")
    hubs = tuple(enrolment.hub_address(hub, insecure=given.insecure) for hub in given.hub)
    found = Enrolment(
        cluster=given.cluster, hubs=tuple(dict.fromkeys(hubs)), ca_file=_authorities(given.ca)
    )
    site = SiteDirectory(given.site_dir)
    site.prepare()
    site.relay.mkdir(mode=0o700, exist_ok=True)
    key = _key(enrolment.key_file(site), replace=given.new_key)
    found.write(site)
    public = key.public_key().public_bytes_raw()
    return base64.b64encode(public).decode("ascii")


def _authorities(file: Path | None) -> str:
    if file is None:
        return ""
    if not file.is_file():
        raise ConfigurationError(f"--ca: there is no file {file}")
    return str(file.absolute())


def _key(file: Path, *, replace: bool) -> Ed25519PrivateKey:
    """Return the site's key; a file that is none is never overwritten unless asked for."""
    if replace or not file.exists():
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        private_file.write(file, pem.decode("ascii"))
        return key
    try:
        found = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{file} is not a key in PEM; --new-key replaces it") from error
    if not isinstance(found, Ed25519PrivateKey):
        raise ConfigurationError(f"{file} is not an Ed25519 key; --new-key replaces it")
    return found


if __name__ == "__main__":
    sys.exit(main())
