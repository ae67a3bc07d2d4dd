"""Puts together who may come to the dashboard, and how: from options and what lies on the disk."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from datakit_ci.accounts import AccountBook
from datakit_ci.acl import Rules
from datakit_ci.clock import SystemClock
from datakit_ci.confidential import make_directory
from datakit_ci.dashboard.app import Access
from datakit_ci.dashboard.certificates import Certificate, given_certificate, own_certificate
from datakit_ci.dashboard.providers import Provider, read_providers
from datakit_ci.dashboard.redis_sessions import open_redis
from datakit_ci.settings import ServiceSettings
from datakit_core.tls import anonymous_context

__all__ = ["Reception", "open_reception"]


@dataclass(frozen=True, slots=True)
class Reception:
    """How the dashboard is reached.

    Attributes:
        access: Who may see it.
        book: The accounts, which somebody has to follow.
        certificate: What it shows by TLS; none without.
        tls: The same as the listener wants it.
    """

    access: Access
    book: AccountBook
    certificate: Certificate | None = None
    tls: ssl.SSLContext | None = None


@asynccontextmanager
async def open_reception(
    settings: ServiceSettings, rules: Callable[[], Rules]
) -> AsyncIterator[Reception]:
    """Read accounts, providers and certificates, and connect to where sessions are.

    Raises:
        ConfigError: A file is damaged or open to others, or Redis does not answer.
    """
    async with AsyncExitStack() as stack:
        sessions = None
        if settings.sessions_backend != "memory":
            sessions = await stack.enter_async_context(open_redis(settings.sessions_backend))
        await asyncio.to_thread(make_directory, settings.accounts)
        book = await asyncio.to_thread(AccountBook.open, settings.accounts, SystemClock().now)
        providers: Mapping[str, Provider] = {}
        if settings.login_providers is not None:
            providers = await asyncio.to_thread(read_providers, settings.login_providers)
        certificate = await asyncio.to_thread(_certificate, settings)
        public = settings.public_url.rstrip("/")
        access = Access(
            rules,
            book=book,
            setup="" if book.has_admin else secrets.token_urlsafe(24),
            providers=providers,
            sessions=sessions,
            public_url=public,
            is_secure=(public or settings.web_ui).startswith("https:"),
            host=settings.web_host,
        )
        tls = None
        if certificate is not None:
            tls = await asyncio.to_thread(anonymous_context, certificate.cert, certificate.key)
        yield Reception(access, book, certificate, tls)


def _certificate(settings: ServiceSettings) -> Certificate | None:
    if not settings.web_ui.startswith("https:"):
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        return own_certificate(settings.accounts, settings.web_host)
    return given_certificate(settings.tls_cert, settings.tls_key)
