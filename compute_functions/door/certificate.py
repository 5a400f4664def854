"""What a door shows to who knocks: a certificate of its own, which the registration vouches for."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from compute_functions import private_file

#: The certificate counts by its fingerprint alone; its times must only satisfy the library.
_VALID = dt.timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A key and its certificate, both in one text; `fingerprint` is SHA-256, in hexadecimal."""

    pem: str = field(repr=False)
    fingerprint: str

    def context(self, folder: Path) -> ssl.SSLContext:
        """Return what a server shows it with; `folder` is private, and holds the key meanwhile."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # The library reads files alone.
        with private_file.lent(folder / "door.pem", self.pem):
            context.load_cert_chain(folder / "door.pem")
        return context


def made(name: str) -> Certificate:
    """Return a new certificate of this name, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A common name holds 64 characters.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    return Certificate(
        pem=pem.decode("ascii"), fingerprint=certificate.fingerprint(hashes.SHA256()).hex()
    )
