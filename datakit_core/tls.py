"""TLS for listeners and clients: certificates from files, and errors that name the file.

A listener demands a certificate of every client. Whoever can show one that the listener's
authority has signed may come in; what they may do there is the listener's other options' matter.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from datakit_core.errors import ConfigError

__all__ = ["anonymous_context", "client_context", "server_context"]


def server_context(cert: Path | None, key: Path | None, ca: Path | None) -> ssl.SSLContext:
    """What a listener needs that lets in only clients whose certificates ``ca`` has signed.

    Args:
        cert: The server's certificate, and what leads from it to its authority (PEM).
        key: The private key of ``cert``; not encrypted, since nobody is there to be asked.
        ca: Certificates of the authorities that sign clients' certificates.

    Raises:
        ConfigError: One of them is missing, cannot be read, or does not fit the others.
    """
    if cert is None or key is None or ca is None:
        raise ConfigError(
            "a TLS listener needs cert=FILE and key=FILE, its own certificate and key, and "
            "ca=FILE, the authority that has signed the clients' certificates"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    _identify(context, cert, key)
    _trust(context, ca)
    return context


def anonymous_context(cert: Path, key: Path | None) -> ssl.SSLContext:
    """What a listener needs that does not ask clients for certificates.

    Args:
        cert: The server's certificate, and what leads from it to its authority (PEM).
        key: The private key of ``cert``, if it is not in the same file.

    Raises:
        ConfigError: A file cannot be read, or does not fit the other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _identify(context, cert, key or cert)
    return context


def client_context(cert: Path | None, key: Path | None, ca: Path | None) -> ssl.SSLContext:
    """What a client needs; the server's name is checked against its certificate.

    Args:
        cert: The client's certificate; a DataKit listener demands one.
        key: Its private key, if it is not in the same file.
        ca: The authority that has signed the server's certificate; by default those that the
            system trusts.

    Raises:
        ConfigError: A file cannot be read, or does not fit the others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None:
        _identify(context, cert, key or cert)
    if ca is None:
        context.load_default_certs()
    else:
        _trust(context, ca)
    return context


def _identify(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    _check_readable(cert, key)
    try:
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no certificate with an unencrypted key that fits it: {error}", f"{cert}, {key}"
        ) from error


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    _check_readable(ca)
    try:
        context.load_verify_locations(ca)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no certificates of authorities: {error}", str(ca)) from error


def _check_readable(*files: Path) -> None:
    """Name the file that cannot be read, which OpenSSL does not."""
    for file in files:
        try:
            file.open("rb").close()
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", str(file)) from error
