"""The one way to the gateway and back: whatever comes is without the key before anybody looks at it."""

from __future__ import annotations

from dataclasses import replace

from opper_batch.client.gateway import Gateway
from opper_batch.client.transport import Request, Response, Transport
from opper_batch.errors import Unreachable


async def exchange(gateway: Gateway, transport: Transport, request: Request) -> Response:
    """The response to ``request``; raises what ``transport`` raises."""
    try:
        response = await transport.send(request)
    except Unreachable as error:  # it may quote what was no HTTP
        message = gateway.without_key(error.message.encode()).decode()
        raise Unreachable(message, paid=error.paid) from None
    body = gateway.without_key(response.body)
    return response if body is response.body else replace(response, body=body)
