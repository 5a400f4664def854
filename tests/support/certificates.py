"""A throw-away certificate authority, and TLS settings for a server and its clients."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Files of an authority's own certificate, and of a server and a client that it vouches for."""

    certificate: Path
    server_chain: Path
    client_certificate: Path
    client_key: Path

    def server_context(self, *, wants_client: bool = False) -> ssl.SSLContext:
        """Return what a server shows; it may let in nobody but this authority's clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server_chain)
        if wants_client:
            context.load_verify_locations(self.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return what makes a client trust this authority alone."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make_authority(folder: Path, *names: str) -> Authority:
    """Make an authority, and a server's certificate for names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("Throw-away authority")
    root = (
        _certificate(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = (
        _certificate(_name("A host of images"), subject, server_key.public_key())
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), False)
        .sign(key, hashes.SHA256())
    )
    client_key = ec.generate_private_key(ec.SECP256R1())
    client = _certificate(_name("A client"), subject, client_key.public_key()).sign(
        key, hashes.SHA256()
    )
    authority = Authority(
        certificate=folder / "ca.pem",
        server_chain=folder / "server.pem",
        client_certificate=folder / "client.pem",
        client_key=folder / "client.key",
    )
    authority.client_certificate.write_bytes(client.public_bytes(serialization.Encoding.PEM))
    authority.client_key.write_bytes(_private(client_key))
    authority.certificate.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    authority.server_chain.write_bytes(
        _private(server_key) + server.public_bytes(serialization.Encoding.PEM)
    )
    return authority


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
    )
