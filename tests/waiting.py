"""Waiting for conditions, never for seconds; and a place where nobody listens."""

import socket

from project.demo.waiting import wait_for

__all__ = ["closed_port", "wait_for"]


def closed_port() -> int:
    """A loopback port that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
