"""Which path means what: thin, each endpoint one question to the gateway. Paths: the OpenAPI document.

Paths arrive undecoded (see ``doorway``), so parameters are decoded here, after the path was split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from opper_batch.sandbox.catalog import listing, whole_number
from opper_batch.sandbox.gateway import Gateway
from opper_batch.sandbox.journal import Journal, Record
from opper_batch.sandbox.questions import read_object, read_question
from opper_batch.sandbox.refusals import Refusal, json_response, unknown_path

Endpoint = Callable[[Request], Awaitable[Response]]

ABOUT = "A sandbox that speaks Opper's v3 on this machine. Its answers are synthetic: no model is asked."


def application(gateway: Gateway, journal: Journal) -> Starlette:
    """The sandbox as an ASGI application, to be put behind a ``Doorway``."""
    routes = [
        *_call_routes(gateway),
        *_function_routes(gateway),
        *_span_routes(gateway),
        *_trace_routes(gateway),
        *_system_routes(journal),
    ]
    refusing: dict[Any, Any] = {Refusal: _refused, ClientDisconnect: _gone, 404: _unknown, 405: _unknown}
    app = Starlette(routes=routes, exception_handlers=refusing)
    app.router.redirect_slashes = False
    return app


def _call_routes(gateway: Gateway) -> list[Route]:
    async def call(request: Request) -> Response:
        return await answered(request, None)

    async def call_function(request: Request) -> Response:
        return await answered(request, _parameter(request, "name"))

    async def answered(request: Request, name: str | None) -> Response:
        body = await request.body()
        record = _record(request)
        record.body_digest = hashlib.blake2b(body, digest_size=16).hexdigest()
        return await gateway.call(read_question(body, name), record, _origin(request))

    async def status(request: Request) -> Response:
        return json_response(gateway.artifacts.status(_parameter(request, "id"), _origin(request)))

    async def file(request: Request) -> Response:
        found = gateway.artifacts.file(
            _parameter(request, "id"),
            request.query_params.get("sig"),
            key_sent="authorization" in request.headers,
        )
        return Response(found.content, media_type=found.mime_type)

    return [
        Route("/v3/call", call, methods=["POST"]),
        Route("/v3/functions/{name}/call", call_function, methods=["POST"]),
        Route("/v3/artifacts/{id}/status", status),
        Route("/sandbox/files/{id}", file),
    ]


def _function_routes(gateway: Gateway) -> list[Route]:
    functions = gateway.functions

    async def listed(request: Request) -> Response:
        return json_response(functions.listed())

    async def details(request: Request) -> Response:
        return json_response(functions.details(_parameter(request, "name")))

    async def revisions(request: Request) -> Response:
        return json_response(functions.revisions(_parameter(request, "name")))

    async def delete(request: Request) -> Response:
        functions.delete(_parameter(request, "name"))
        return Response(status_code=204)

    return [
        Route("/v3/functions", listed),
        Route("/v3/functions/{name}", details),
        Route("/v3/functions/{name}", delete, methods=["DELETE"]),
        Route("/v3/functions/{name}/revisions", revisions),
    ]


def _span_routes(gateway: Gateway) -> list[Route]:
    spans = gateway.spans

    async def create(request: Request) -> Response:
        return json_response({"data": spans.create(read_object(await request.body()))})

    async def get(request: Request) -> Response:
        return json_response({"data": spans.get(_parameter(request, "id"))})

    async def update(request: Request) -> Response:
        spans.update(_parameter(request, "id"), read_object(await request.body()))
        return json_response({})

    async def delete(request: Request) -> Response:
        spans.delete(_parameter(request, "id"))
        return Response(status_code=204)

    return [
        Route("/v3/spans", create, methods=["POST"]),
        Route("/v3/spans/{id}", get),
        Route("/v3/spans/{id}", update, methods=["PATCH"]),
        Route("/v3/spans/{id}", delete, methods=["DELETE"]),
    ]


def _trace_routes(gateway: Gateway) -> list[Route]:
    spans = gateway.spans

    async def traces(request: Request) -> Response:
        return json_response(spans.traces(request.query_params))

    async def trace(request: Request) -> Response:
        # As documented, under "data"; and again beside it, where the official Python SDK looks.
        found = spans.trace(_parameter(request, "id"))
        return json_response({"data": found, **found})

    async def delete(request: Request) -> Response:
        spans.delete_trace(_parameter(request, "id"))
        return Response(status_code=204)

    return [
        Route("/v3/traces", traces),
        Route("/v3/traces/{id}", trace),
        Route("/v3/traces/{id}", delete, methods=["DELETE"]),
    ]


def _system_routes(journal: Journal) -> list[Route]:
    async def models(request: Request) -> Response:
        query = request.query_params
        return json_response(listing(query, query.getlist("capability")))

    async def health(request: Request) -> Response:
        return json_response({"status": "ok"})

    async def description(request: Request) -> Response:
        # JSON is YAML too, so one text serves both paths.
        return json_response(_description(request.app))

    async def journalled(request: Request) -> Response:
        last = request.query_params.get("last")
        kept = None if last is None else whole_number(request.query_params, "last", 0, lowest=0)
        return json_response(journal.summary(kept))

    return [
        Route("/v3/models", models),
        Route("/health", health),
        Route("/v3/openapi.json", description),
        Route("/v3/openapi.yaml", description),
        Route("/sandbox/journal", journalled),
    ]


def _description(app: Starlette) -> dict[str, object]:
    """What there is, as a small OpenAPI document: the paths, and that answers are synthetic."""
    paths: dict[str, dict[str, object]] = {}
    for route in app.routes:
        if isinstance(route, Route):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                operation = {"responses": {"default": {"description": "As the gateway's own document says."}}}
                paths.setdefault(route.path, {})[method.lower()] = operation
    info = {"title": "Task API (sandbox)", "version": "3.0.0", "description": ABOUT}
    return {"openapi": "3.1.0", "info": info, "paths": paths}


def _parameter(request: Request, name: str) -> str:
    return unquote(request.path_params[name])


def _origin(request: Request) -> str:
    """This server as the client calls it, so that addresses given out are of the origin it trusts."""
    host, port = request.scope["server"]
    return f"http://{request.headers.get('host') or f'{host}:{port}'}"


def _record(request: Request) -> Record:
    record = request.state.record
    assert isinstance(record, Record)
    return record


async def _refused(request: Request, refusal: Refusal) -> Response:
    return refusal.response()


async def _gone(request: Request, error: ClientDisconnect) -> Response:
    """The client left before its request was whole; nobody reads this."""
    return Response(status_code=400)


async def _unknown(request: Request, error: HTTPException) -> Response:
    if error.status_code == 405:
        return Refusal(405, "method_not_allowed", f"{request.method} is not for this path").response()
    return unknown_path(request.url.path)
