"""Errors of the API: ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from datakit_ci.dashboard.api.addresses import PREFIX

__all__ = ["PROBLEM", "Problem", "is_api", "problem"]

PROBLEM = "application/problem+json"
"""The media type of an error."""


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457, section 3)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field("about:blank", description="`about:blank`: the status says what it is.")
    title: str = Field(description="The phrase of the status.")
    status: int = Field(description="The status of the answer, 400 to 599.")
    detail: str = Field(description="What is wrong and what to do about it; for people.")


def is_api(request: web.Request) -> bool:
    """Whether an error has to be told as a problem and not as a page."""
    return request.rel_url.raw_path.startswith(f"{PREFIX}/")


def problem(status: int, detail: str) -> web.Response:
    """The answer to a request that cannot be done as it was asked."""
    phrase = HTTPStatus(status).phrase
    body = Problem(title=phrase, status=status, detail=detail or phrase, type="about:blank")
    return web.Response(
        status=status,
        body=json.dumps(body.model_dump()).encode() + b"\n",
        headers={"Content-Type": PROBLEM, "Cache-Control": "no-store"},
    )
