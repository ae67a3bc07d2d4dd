"""The dashboard's certificate: one that was given, or one that it signs itself."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from datakit_ci.confidential import read_confidential, update_lock, write_confidential
from datakit_core.errors import ConfigError

__all__ = ["Certificate", "given_certificate", "own_certificate"]

_GOOD_FOR = timedelta(days=397)
"""What browsers accept at most."""

_RENEWED = timedelta(days=30)
"""Before its end a certificate of ours is replaced at the next start."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key.

    Attributes:
        cert, key: Their files; ours are one.
        fingerprint: SHA-256 of one that is self-signed, to compare with what a browser shows;
            empty for others.
    """

    cert: Path
    key: Path
    fingerprint: str = ""


def given_certificate(cert: Path, key: Path) -> Certificate:
    """The files that somebody else has made; blocks.

    Raises:
        ConfigError: The key is not there, or is open to others.
    """
    if read_confidential(key) is None:
        raise ConfigError("is not there", str(key))
    return Certificate(cert, key)


def own_certificate(directory: Path, host: str) -> Certificate:
    """A certificate for ``host`` and this machine, made and kept in ``directory``; blocks.

    Raises:
        ConfigError: The file is damaged or open to others, or cannot be written.
    """
    file = directory / "certificate.pem"
    names = list(dict.fromkeys(_names(host)))
    with update_lock(directory):
        data = read_confidential(file)
        if data is None or not _will_do(file, data, names):
            data = _make(names)
            write_confidential(file, data)
    return Certificate(file, file, _loaded(file, data).fingerprint(hashes.SHA256()).hex(":"))


def _names(host: str) -> Iterator[str]:
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - not to bind, but to leave out
        yield host
    yield from ("localhost", "127.0.0.1", "::1", socket.gethostname())


def _will_do(file: Path, data: bytes, names: list[str]) -> bool:
    certificate = _loaded(file, data)
    if certificate.not_valid_after_utc - datetime.now(UTC) < _RENEWED:
        return False
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found) == {_general(name) for name in names}


def _loaded(file: Path, data: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise ConfigError("is damaged; remove it, and another is made", str(file)) from error


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _make(names: list[str]) -> bytes:
    """A key and its certificate, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "DataKit")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + _GOOD_FOR)
        .add_extension(x509.SubjectAlternativeName([_general(each) for each in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + certificate.public_bytes(Encoding.PEM)
