"""Certificates for tests, made by openssl(1): an authority, and who it vouches for."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Authority", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates.

    Attributes:
        cert: The authority's own certificate.
    """

    def __init__(self, directory: Path, name: str) -> None:
        """Make an authority called ``name`` with files in ``directory``."""
        self._directory = directory
        self._key = directory / f"{name}.key"
        self.cert = directory / f"{name}.pem"
        _openssl(
            "req", "-x509", *_new_key(self._key), "-out", self.cert, "-subj", f"/CN={name}",
            "-days", "1",
        )  # fmt: skip

    def identity(self, name: str) -> Identity:
        """A certificate for ``name``, good for 127.0.0.1, on either side of a connection."""
        key = self._directory / f"{name}.key"
        request = self._directory / f"{name}.csr"
        cert = self._directory / f"{name}.pem"
        extensions = self._directory / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1\n")
        _openssl("req", "-new", *_new_key(key), "-out", request, "-subj", f"/CN={name}")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self._key,
            "-CAcreateserial", "-out", cert, "-days", "1", "-extfile", extensions,
        )  # fmt: skip
        return Identity(cert, key)


def _new_key(key: Path) -> list[str | Path]:
    return [
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
    ]  # fmt: skip


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
