"""What tests of several rooms need."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

Names = Callable[..., None]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """``names("203.0.113.7", "10.0.0.1")``: from now on every name has these addresses; an address stays itself."""
    real = socket.getaddrinfo

    def become(*addresses: str) -> None:
        def look_up(host: str, port: Any, *args: Any, **options: Any) -> Any:
            places = addresses if host.rstrip(".").rpartition(".")[2].isalpha() else (host,)
            return [place for each in places for place in real(each, port, *args, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return become
