"""A client to ask with, and a gateway that says what a test tells it to."""

from client_fixtures import rig, sandbox, stub

__all__ = ["rig", "sandbox", "stub"]
