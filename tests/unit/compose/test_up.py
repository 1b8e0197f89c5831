from pathlib import Path

import pytest

from compose.private import ROOT, commands, up
from compose.private.envfile import Secrets
from compose.private.problems import Problem
from tasks.topology import TOPOLOGY

PORTS = {"PORT": 8000, "STREAM_PORT": 8001, "FLOWER_PORT": 5555}
ADDRESSES = {"BROKER_URL": "amqp://ours", "RABBITMQ_API_URL": "http://u:p@127.0.0.1:15672/api/"}


@pytest.mark.parametrize(
    ("given", "servers"),
    [
        ({}, ["rabbitmq", "postgresql", "redis"]),
        ({"DATABASE_URL": "postgres://elsewhere"}, ["rabbitmq", "redis"]),
        ({"BROKER_URL": "amqp://elsewhere", "REDIS_URL": "redis://elsewhere"}, ["postgresql"]),
        ({"BROKER_URL": ""}, ["rabbitmq", "postgresql", "redis"]),
    ],
)
def test_a_server_named_by_the_environment_is_not_started(given: dict[str, str], servers: list[str]):
    assert up.servers_wanted(given) == servers


def test_a_taken_port_is_answered_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PORT", raising=False)

    with pytest.raises(Problem, match=r"port 8000 is taken.*PORT=8002 make up") as caught:
        up.requested_port("PORT", 8000, free=lambda port: port > 8001)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1"])
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("PORT", text)

    with pytest.raises(Problem, match=f"PORT={text}"):
        up.requested_port("PORT", 8000)


def test_two_that_would_listen_at_one_port_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PORT", "18001")
    monkeypatch.setenv("STREAM_PORT", "18001")

    with pytest.raises(Problem, match="PORT and STREAM_PORT are both 18001"):
        up.requested_ports()


def test_settings_are_the_same_at_the_next_start(tmp_path: Path):
    first = up.settings(ADDRESSES, PORTS, Secrets(tmp_path / "secrets"), {})

    assert up.settings(ADDRESSES, PORTS, Secrets(tmp_path / "secrets"), {}) == first
    assert first["FLOWER_BASIC_AUTH"] == f"operator:{first['OPERATOR_PASSWORD']}"
    assert (first["PORT"], first["FLOWER_URL"]) == ("8000", "http://127.0.0.1:5555/")


def test_what_the_environment_gives_wins(tmp_path: Path):
    given = {"SECRET_KEY": "mine", "DATABASE_URL": "postgres://elsewhere", "HOME": "/home/me"}

    values = up.settings(ADDRESSES, PORTS, Secrets(tmp_path / "secrets"), given)

    assert (values["SECRET_KEY"], values["DATABASE_URL"]) == ("mine", "postgres://elsewhere")
    assert "HOME" not in values


def test_the_welcome_tells_every_address_and_login(tmp_path: Path):
    values = up.settings(ADDRESSES, PORTS, Secrets(tmp_path / "secrets"), {})

    text = up.welcome(values)

    for part in (
        "127.0.0.1:8000/admin/",
        "127.0.0.1:8000/api/v1/docs",
        "127.0.0.1:8001",
        "127.0.0.1:5555/",
        "127.0.0.1:15672/",
        "u / p",
    ):
        assert part in text
    assert text.count(f"operator / {values['OPERATOR_PASSWORD']}") == 2


def test_the_addresses_are_there_only_while_it_runs(tmp_path: Path):
    path = tmp_path / "platform.env"

    with up.written(path, {"PORT": "8000"}):
        assert path.read_text() == "PORT=8000\n"

    assert not path.exists()


def test_a_profile_that_is_not_built_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("PROFILE", "lite")
    monkeypatch.setattr(commands.signals, "listen", lambda: None)

    assert commands.main(["up"]) == 2
    assert "PROFILE=lite is not built yet" in capsys.readouterr().out


def test_every_queue_has_exactly_one_kind_of_worker():
    words = (ROOT / "compose/django/start").read_text().replace(",", " ").split()

    assert sorted(word for word in words if word.endswith("-queue")) == sorted(TOPOLOGY.queue_names)
