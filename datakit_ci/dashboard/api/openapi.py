"""The description of the API (OpenAPI 3.1), made from its models and its table of addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from datakit_ci.acl import Role
from datakit_ci.dashboard.api.addresses import PREFIX
from datakit_ci.dashboard.api.endpoint import PATTERNS, Endpoint
from datakit_ci.dashboard.api.problem import PROBLEM, Problem
from datakit_ci.dashboard.visitor import CSRF_HEADER
from datakit_core import __version__

__all__ = ["describe"]

_Json: TypeAlias = dict[str, Any]
_Refs: TypeAlias = Mapping[type[BaseModel], _Json]

_REF = "#/components/schemas/{model}"

_ABOUT = (
    "What pages show, and what people can tell the engine. Fields and addresses may be added to "
    "this version; none is taken away. Names in addresses are percent-encoded, also slashes in "
    "them. Errors are problems as RFC 9457 has them."
)

_AT: _Json = {
    "name": "at",
    "in": "query",
    "required": False,
    "description": "As of a moment: a time, or a commit of a branch that records states.",
    "schema": {"type": "string", "maxLength": 200},
}

_PARTS: Mapping[str, str] = {
    "user": "The first part of a project's id.",
    "repo": "The second part of a project's id.",
    "kind": "What sort of target.",
    "name": "Of a branch or tag, or a pull request's number; a slash is %2F.",
    "stage": "The stage's name; a slash is %2F.",
    "static": "What ran.",
    "key": "What it was given.",
    "which": "One of the trees of a build.",
    "path": "A path in the tree; a slash is %2F.",
}

_ERRORS: Mapping[int, str] = {
    400: "A parameter or a field makes no sense.",
    401: "Log in, or give a token.",
    403: "You may not do that.",
    404: "It is not there, or you may not know of it.",
    429: "Too many requests; try again later.",
    503: "The service cannot answer at present; try again.",
}


def describe(endpoints: Sequence[Endpoint], cookie: str) -> _Json:
    """The document for ``/api/v1/openapi.json``; ``cookie`` is what that of a session is called."""
    refs, schemas = _models(endpoints)
    paths: dict[str, _Json] = {}
    for each in endpoints:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "DataKit CI", "version": __version__, "description": _ABOUT},
        "servers": [{"url": PREFIX}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": cookie},
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": CSRF_HEADER,
                    "description": "With a session: as in the forms of its pages.",
                },
            },
        },
    }


def _models(endpoints: Sequence[Endpoint]) -> tuple[_Refs, _Json]:
    """How each model is referred to, and the schemas of them all."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
    for each in endpoints:
        if each.answer is not None:
            wanted[each.answer, "serialization"] = None
        if each.body is not None and each.body.model_fields:
            wanted[each.body, "validation"] = None
    found, document = models_json_schema(list(wanted), ref_template=_REF)
    refs = {model: found[model, mode] for model, mode in wanted}
    return refs, document["$defs"]


def _operation(endpoint: Endpoint, refs: _Refs) -> _Json:
    operation: _Json = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [
            *map(_path_parameter, endpoint.parameters),
            *_query(endpoint.query),
            *([_AT] if endpoint.method == "GET" and endpoint.role is not Role.NONE else []),
        ],
        "responses": _responses(endpoint, refs),
        "security": _security(endpoint),
    }
    if endpoint.body is not None and endpoint.body.model_fields:
        operation["requestBody"] = {
            "required": False,
            "content": {"application/json": {"schema": refs[endpoint.body]}},
        }
    return operation


def _security(endpoint: Endpoint) -> list[_Json]:
    """The ways to say who one is; nobody has to where everybody may."""
    if endpoint.role is Role.NONE:
        return [{}]
    session: _Json = {"session": []}
    if endpoint.method != "GET":
        session["csrf"] = []
    return [{}, {"token": []}, session]


def _path_parameter(name: str) -> _Json:
    pattern = PATTERNS.get(name)
    schema: _Json = {"type": "string", "minLength": 1}
    if pattern is not None:
        schema = (
            {"type": "string", "enum": pattern.split("|")}
            if "|" in pattern
            else {"type": "string", "pattern": f"^{pattern}$"}
        )
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": _PARTS[name],
        "schema": schema,
    }


def _query(model: type[BaseModel]) -> Iterable[_Json]:
    schema = model.model_json_schema(ref_template=_REF)
    defs: _Json = schema.get("$defs", {})
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        plain = _inlined(field, defs)
        description = plain.pop("description", "")
        plain.pop("title", None)
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": description,
            "schema": plain,
        }


def _inlined(field: _Json, defs: _Json) -> _Json:
    """A field's schema without references and without null: a parameter is given, or it is not."""
    options = [each for each in field.get("anyOf", ()) if each.get("type") != "null"]
    if len(options) == 1:
        rest = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
        field = {**options[0], **rest}
    if "$ref" in field:
        named = defs[field["$ref"].rpartition("/")[2]]
        rest = {key: value for key, value in field.items() if key != "$ref"}
        field = {**named, **rest}
    return dict(field)


def _responses(endpoint: Endpoint, refs: _Refs) -> _Json:
    content: _Json = {endpoint.media_type: {}}  # bytes, or events
    if endpoint.answer is not None:
        content = {endpoint.media_type: {"schema": refs[endpoint.answer]}}
    errors = {**_ERRORS, **dict(endpoint.statuses)}
    found: _Json = {"200": {"description": "As asked.", "content": content}}
    for status, description in sorted(errors.items()):
        if status == 206:
            found["206"] = {"description": description, "content": content}
        else:
            problem = {PROBLEM: {"schema": refs[Problem]}}
            found[str(status)] = {"description": description, "content": problem}
    return found
