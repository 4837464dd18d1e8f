"""A gateway that says what a test tells it to."""

from client_fixtures import stub

__all__ = ["stub"]
