"""Replies that a client hopes not to get: refusals, failures, answers that are none, and silence."""

from __future__ import annotations

import math
import time
from email.utils import formatdate

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from opper_batch.sandbox.dice import Dice
from opper_batch.sandbox.refusals import Refusal, html

DROPPED = "sandbox.dropped"
_FORMS = ("seconds", "fraction", "date", "ms", "none")


class Dropped(Response):
    """No reply: the connection closes. The outermost ring does it, at this message of our own."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": DROPPED})
        # Returning before the server has seen the connection go would make it answer 500.
        while (await receive())["type"] != "http.disconnect":
            pass


def throttled(form: str, wait: float, dice: Dice) -> Refusal:
    """429 that says in ``form`` to wait so many seconds."""
    headers = _retry_after(dice.pick(_FORMS) if form == "mixed" else form, wait)
    return Refusal(429, "rate_limit", "too many requests", headers)


def _retry_after(form: str, wait: float) -> dict[str, str]:
    match form:
        case "seconds":
            return {"Retry-After": str(math.ceil(wait))}
        case "fraction":
            return {"Retry-After": f"{wait:.3f}"}
        case "date":
            # A date has whole seconds: rounded up, so that nobody comes too early.
            return {"Retry-After": formatdate(math.ceil(time.time() + wait), usegmt=True)}
        case "ms":
            return {"retry-after-ms": str(math.ceil(wait * 1000))}
    return {}


def bad_request() -> Response:
    return Refusal(400, "invalid_input", "synthetic refusal of this input").response()


def failure(dice: Dice) -> Response:
    """5xx: the gateway's own as JSON, a proxy's 502 as a page."""
    status = dice.pick((500, 502, 503, 504))
    if status == 502:
        return html(502, "502 Bad Gateway")
    return Refusal(status, "server_error", f"synthetic failure {status}").response()


def malformed(body: bytes, dice: Dice) -> Response:
    """200 with a body that is no reply: cut JSON, a page of HTML, or nothing."""
    kind = dice.below(3)
    if kind == 1:
        return html(200, "We will be right back")
    content = body[: 1 + dice.below(len(body) - 1)] if kind == 0 else b""
    return Response(content, media_type="application/json")
