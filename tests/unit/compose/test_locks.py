import os
from pathlib import Path

import pytest

from compose.private.locks import locked
from compose.private.problems import Problem
from compose.private.servers import held


def test_the_second_launcher_is_told_the_pid_of_the_first(tmp_path: Path):
    with held(tmp_path), pytest.raises(Problem, match=f"pid {os.getpid()}"), held(tmp_path):
        pass


def test_the_next_one_may_have_it(tmp_path: Path):
    with held(tmp_path):
        pass
    with held(tmp_path):
        pass


def test_two_directories_run_side_by_side(tmp_path: Path):
    with held(tmp_path / "one"), held(tmp_path / "two"):
        pass


def test_the_last_run_s_logs_are_kept_once(tmp_path: Path):
    log = tmp_path / "log" / "web.log"
    log.parent.mkdir()
    log.write_text("yesterday\n")

    with held(tmp_path):
        assert not log.exists()
    assert log.with_suffix(".log.1").read_text() == "yesterday\n"


def test_a_free_lock_is_nobody_s_news(tmp_path: Path):
    with locked(tmp_path / "lock", pytest.fail):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
