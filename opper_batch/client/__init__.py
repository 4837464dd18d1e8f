"""One call, from the question to the outcome: rings around a one-method transport."""

from opper_batch.client.call import Client, StepRules
from opper_batch.client.gate import Gate, GateClosed
from opper_batch.client.gateway import Gateway
from opper_batch.client.network import network
from opper_batch.client.transport import Request, Response, Transport

__all__ = [
    "Client",
    "Gate",
    "GateClosed",
    "Gateway",
    "Request",
    "Response",
    "StepRules",
    "Transport",
    "network",
]
