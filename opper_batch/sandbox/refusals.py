"""How the sandbox says no: the shapes of error bodies that the gateway and what stands before it send."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import HTMLResponse, Response

_DOCS = "https://docs.opper.ai"


class Refusal(Exception):
    """A request that will not be done; becomes ``{"error": {"code", "message"}}`` with ``status``."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    def response(self) -> Response:
        return json_response(
            {"error": {"code": self.code, "message": self.message}}, self.status, self.headers
        )


def compact(value: object) -> bytes:
    """Compact UTF-8 JSON, keys in the order given; a lone surrogate, which JSON text may spell, is kept."""
    return _ENCODER.encode(value).encode(errors="surrogatepass")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(compact(value), status, headers, media_type="application/json")


def unauthorized(form: str, *, sent: bool) -> Response:
    """401 with its body in one of the forms: ``none`` as documented, ``string`` as observed, ``object``."""
    message = "invalid bearer token" if sent else "No API key was sent."
    if form == "none":
        return Response(status_code=401)
    if form == "object":
        return Refusal(401, "unauthorized", message).response()
    return json_response({"error": f"{message} Get one from the console.", "docs_url": _DOCS}, 401)


def unknown_path(path: str) -> Response:
    """404 in the shape of the API's version: v2 has one of its own."""
    message = f"the sandbox has no {path}"
    if path.startswith("/v2/"):
        return json_response({"type": "NotFoundError", "message": message, "detail": None}, 404)
    return Refusal(404, "not_found", message).response()


def html(status: int, title: str) -> Response:
    """A page, as proxies send them in the place of an answer."""
    return HTMLResponse(
        f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>", status
    )
