"""Webhooks out, as a pipeline declares them: whom to tell what, and the secret that signs it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from datakit_ci.secrets import Secret
from datakit_core.errors import ConfigError

__all__ = ["CHANGED", "FINISHED", "Webhook", "sign"]

FINISHED: Final = "target.finished"
"""All jobs of a target have come to an end, and not to the one that was told last."""

CHANGED: Final = "target.changed"
"""A target is at another commit, or stands elsewhere, and is not finished."""

_EVENTS: Final = (FINISHED, CHANGED)
_PREFIX: Final = "whsec_"
_SHORTEST = 16
"""Bytes of a secret; fewer could be guessed."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody who is told how targets stand.

    Attributes:
        url: Where to send it, by ``https`` or ``http``; nothing is followed from there.
        secret: What signs it: ``whsec_`` and base64, as Standard Webhooks has it, or any bytes.
        events: What to tell.
        projects: Of which projects; none: of all.
    """

    url: str
    secret: Secret
    events: Sequence[str] = (FINISHED,)
    projects: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the fields; raises ``ConfigError``."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError(f"webhook {self.url!r} is not of the form https://HOST/PATH")
        if not isinstance(self.secret, Secret):
            raise ConfigError(
                f"webhook {self.url}: say where its secret is, as in secret=Secret.file(PATH)"
            )
        if isinstance(self.events, str) or isinstance(self.projects, str):
            raise ConfigError(f"webhook {self.url}: events and projects are lists")
        for event in self.events:
            if event not in _EVENTS:
                known = ", ".join(_EVENTS)
                raise ConfigError(f"webhook {self.url}: {event!r} is none of {known}")

    @property
    def id(self) -> str:
        """Names it in the database, without telling where it is."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def key(self) -> bytes:
        """The secret's value.

        Raises:
            ConfigError: It is not there, cannot be read, or is too short.
        """
        value = self.secret.read()
        if value is None:
            raise ConfigError(f"webhook {self.url}: {self.secret} is not there")
        if value.startswith(_PREFIX.encode()):
            try:
                value = base64.b64decode(value.removeprefix(_PREFIX.encode()), validate=True)
            except binascii.Error as error:
                raise ConfigError(
                    f"webhook {self.url}: what follows {_PREFIX} is not base64"
                ) from error
        if len(value) < _SHORTEST:
            raise ConfigError(f"webhook {self.url}: the secret is shorter than {_SHORTEST} bytes")
        return value


def sign(key: bytes, id_: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature`` (Standard Webhooks 1.0, "Signature scheme").

    Args:
        key: The secret.
        id_: The header ``webhook-id``.
        timestamp: The header ``webhook-timestamp``: seconds since 1970.
        body: What is sent, byte for byte.
    """
    signed = b"%s.%d.%s" % (id_.encode(), timestamp, body)
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
