"""The load balancer of production, with the addresses of a test."""

import re

import pytest

from compose.private import nginx
from compose.private.problems import Problem

PORTS = {"api-1": 1001, "api-2": 1002, "stream-1": 1003}


def test_every_server_is_found_at_its_port_of_this_machine(tmp_path):
    text = nginx.configuration(tmp_path, 8080, PORTS)
    servers = re.findall(r"server (\S+?);? ", text)
    assert {server for server in servers if ":" in server} == {f"127.0.0.1:{port}" for port in PORTS.values()}
    assert "listen 127.0.0.1:8080;" in text
    assert " /tmp/" not in text.replace(str(tmp_path), "")


def test_a_missing_program_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(nginx, "find", lambda: None)
    with pytest.raises(Problem, match="apt-get install nginx"):
        nginx.balancer(tmp_path, 8080, PORTS)
