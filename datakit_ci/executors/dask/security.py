"""Who may speak with whom on a cluster: the files of mutual TLS, checked before Dask reads them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from datakit_core.errors import ConfigError

if TYPE_CHECKING:  # slow to import
    from distributed.security import Security

__all__ = ["Credentials", "check_scheduler"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What we show others on the cluster, and whom we believe.

    Attributes:
        ca_file: Certificates of who signs those of the cluster, PEM.
        cert: Ours.
        key: The key of ours.
    """

    ca_file: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``ca-file=FILE,cert=FILE,key=FILE``, or a part of it.

        Raises:
            ConfigError: It is not of that form.
        """
        found: dict[str, Path] = {}
        for part in filter(None, text.split(",")):
            name, equals, path = part.partition("=")
            if not equals or name not in ("ca-file", "cert", "key"):
                raise ConfigError(
                    f"{part!r} is not of the form ca-file=FILE,cert=FILE,key=FILE", "--executor-tls"
                )
            found[name.replace("-", "_")] = Path(path).absolute()
        return cls(**found)

    @property
    def given(self) -> bool:
        """Whether there is anything."""
        return any((self.ca_file, self.cert, self.key))

    def security(self, role: str, address: str) -> Security:
        """Dask's form of it; what is not given here is as Dask's configuration has it.

        Args:
            role: ``client`` or ``worker``.
            address: The scheduler's; of ``tls://`` nothing is ever sent in the clear.

        Raises:
            ConfigError: A file is missing or makes no sense.
        """
        from distributed.security import Security

        is_secure = address.startswith("tls://")
        if not is_secure:
            if self.given:
                raise ConfigError(f"certificates are for tls://, and the scheduler is {address}")
            return Security(require_encryption=False)
        fields = {
            "tls_ca_file": self.ca_file,
            f"tls_{role}_cert": self.cert,
            f"tls_{role}_key": self.key,
        }
        named = {name: str(path) for name, path in fields.items() if path is not None}
        security = Security(require_encryption=True, **named)
        _check(security, role)
        return security


def _check(security: Security, role: str) -> None:
    """Have the files read now, so that what is wrong with them is said in a line."""
    found = security.get_tls_config_for_role(role)
    options = {"ca_file": "--tls-ca-file", "cert": "--tls-cert"}
    if role == "client":
        options = {"ca_file": "--executor-tls ca-file=FILE", "cert": "--executor-tls cert=FILE"}
    for name, option in options.items():
        if not found[name]:
            raise ConfigError(f"a tls:// scheduler needs {option}, or Dask's configuration")
    try:
        ssl.create_default_context(cafile=found["ca_file"])
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        own.load_cert_chain(found["cert"], found["key"])
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(found[name]) for name in ("ca_file", "cert", "key") if found[name])
        raise ConfigError(f"the certificates ({files}) cannot be used: {error}") from error


def check_scheduler(address: str, option: str) -> str:
    """Return a scheduler's address.

    Raises:
        ConfigError: It is none.
    """
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigError(
            f"{address!r} is not of the form tls://HOST:PORT or tcp://HOST:PORT", option
        )
    return address
