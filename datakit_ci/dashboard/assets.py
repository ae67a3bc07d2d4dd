"""The dashboard's files: where they are, and how browsers may keep them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from datakit_ci.dashboard import palette
from datakit_core.errors import ConfigError

__all__ = ["Asset", "Assets", "web_directory"]

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
"""What is served; other files in the folder are not."""

_FOREVER = "public, max-age=31536000, immutable"


def web_directory() -> Path:
    """The folder with ``templates`` and ``static``.

    An installed package has a copy inside; an editable install has only the checkout's own.

    Raises:
        ConfigError: Neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "web", package.parent / "web"):
        if (directory / "templates").is_dir():
            return directory
    raise ConfigError(
        f"the dashboard's templates are missing from {package / 'web'}; install datakit again"
    )


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file, ready to send.

    Attributes:
        body: Its content.
        packed: The same, by gzip; none where that saves nothing.
        content_type: For the header.
        etag: A digest of the content.
    """

    body: bytes
    packed: bytes | None
    content_type: str
    etag: str

    @classmethod
    def make(cls, body: bytes, content_type: str) -> Asset:
        """Compress and digest ``body``."""
        packed = gzip.compress(body, mtime=0)
        return cls(
            body,
            packed if len(packed) < len(body) * 0.9 else None,
            content_type,
            hashlib.sha256(body).hexdigest()[:16],
        )


class Assets:
    """All static files, in memory: there are few, and they do not change while we run.

    Their common address holds a digest of them all, so that browsers keep them for ever, fetch
    them anew when one has changed, and modules find one another by relative names.
    """

    def __init__(self, files: Mapping[str, Asset]) -> None:
        """Serve ``files``, by their names below the static folder."""
        self._files = dict(files)
        digest = hashlib.sha256()
        for name, asset in sorted(files.items()):
            digest.update(f"{name} {asset.etag}\n".encode())
        self.version = digest.hexdigest()[:12]

    @classmethod
    def load(cls, directory: Path) -> Assets:
        """Read every file of a known type below ``directory``, and make the log's colours."""
        files = {
            path.relative_to(directory).as_posix(): Asset.make(
                path.read_bytes(), _TYPES[path.suffix]
            )
            for path in sorted(directory.rglob("*"))
            if path.suffix in _TYPES and path.is_file()
        }
        files["palette.css"] = Asset.make(palette.stylesheet(), _TYPES[".css"])
        return cls(files)

    def url(self, name: str) -> str:
        """The address of a static file.

        Raises:
            KeyError: There is no such file: a mistake in a template.
        """
        if name not in self._files:
            raise KeyError(f"no static file {name!r}")
        return f"/static/{self.version}/{name}"

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a request for a static file."""
        asset = self._files.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        current = request.match_info["version"] == self.version
        headers = {
            "Cache-Control": _FOREVER if current else "no-cache",
            "ETag": f'"{asset.etag}"',
            "Vary": "Accept-Encoding",
        }
        if any(tag.value == asset.etag for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        body = asset.body
        if asset.packed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = asset.packed, "gzip"
        headers["Content-Type"] = asset.content_type
        return web.Response(body=body, headers=headers)
