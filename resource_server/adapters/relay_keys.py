"""The public keys of sites, as their enrolment prints them and the catalog holds them."""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

#: Of an Ed25519 key.
_KEY_BYTES = 32


def key_bytes(text: str) -> bytes | None:
    """Return the raw bytes of a key, whose base64 the text is; None if it is no key's."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == _KEY_BYTES else None


def is_public_key(text: str) -> bool:
    """Tell whether a text is the base64 of a key's raw bytes."""
    return key_bytes(text) is not None


def public_key(text: str) -> Ed25519PublicKey:
    """Return the key in a text that is one."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
