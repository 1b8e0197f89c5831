from pathlib import Path

import pytest

from compose.private import system
from compose.private.problems import Problem
from compose.private.system import Package

HERE = Package("redis", "redis-server", "redis", lambda: "/usr/bin/redis-server", ("redis-server.service",))
GONE = Package("rabbitmq", "rabbitmq-server", "rabbitmq", lambda: None, ("rabbitmq-server.service",))


def test_nothing_happens_when_nothing_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system, "PACKAGES", (HERE,))
    monkeypatch.setattr(system, "apt_install", pytest.fail)

    system.ensure_installed(["redis"])


def test_who_may_not_install_is_told_what_to_type(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(system, "PACKAGES", (HERE, GONE))
    monkeypatch.setattr(system, "_become_root", lambda: None)

    with pytest.raises(Problem) as caught:
        system.ensure_installed(["redis", "rabbitmq"])

    assert caught.value.exit_code == 2
    assert "sudo apt-get install rabbitmq-server\n" in str(caught.value)
    assert "brew install rabbitmq\n" in str(caught.value)
    assert "docker compose -f compose/local.yml up" in str(caught.value)


def test_apt_may_start_no_service_while_it_installs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    policy, no_cluster = tmp_path / "policy-rc.d", tmp_path / "createcluster.d" / "no-main-cluster.conf"
    installed = []

    def install(names: list[str]) -> None:
        assert policy.read_text() == "#!/bin/sh\nexit 101\n"
        assert policy.stat().st_mode & 0o111
        assert no_cluster.read_text() == "create_main_cluster = false\n"
        installed.extend(names)

    package = Package("rabbitmq", "rabbitmq-server", "rabbitmq", lambda: installed or None, ())
    monkeypatch.setattr(system, "PACKAGES", (package,))
    monkeypatch.setattr(system, "POLICY", policy)
    monkeypatch.setattr(system, "NO_CLUSTER", no_cluster)
    monkeypatch.setattr(system, "_become_root", lambda: [])
    monkeypatch.setattr(system.shutil, "which", {"apt-get": "/usr/bin/apt-get"}.get)
    monkeypatch.setattr(system, "apt_install", install)

    system.ensure_installed(["rabbitmq"])

    assert installed == ["rabbitmq-server"]
    assert not policy.exists()
    assert not no_cluster.exists()


def test_an_administrator_s_own_policy_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")

    with system._file([], policy, system.REFUSAL, mode="755"):
        pass

    assert policy.read_text() == "#!/bin/sh\nexit 0\n"
