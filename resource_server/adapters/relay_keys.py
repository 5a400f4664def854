"""The public keys of sites, as their enrolment prints them and the catalog holds them."""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

#: Of an Ed25519 key.
_KEY_BYTES = 32


def is_public_key(text: str) -> bool:
    """Tell whether a text is the base64 of a key's raw bytes."""
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def public_key(text: str) -> Ed25519PublicKey:
    """Return the key in a text that is one."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
