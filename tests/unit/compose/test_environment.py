from pathlib import Path

import pytest

from compose.private.environment import Stamp


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "dev.txt"
    path.write_text("celery==5.7.0\n")
    return path


def test_an_unchanged_environment_is_left_alone(tmp_path: Path, lock: Path):
    Stamp.of(tmp_path, "3.11", lock).write(tmp_path)

    assert Stamp.read(tmp_path) == Stamp.of(tmp_path, "3.11", lock)


def test_a_changed_lock_is_installed_into_the_same_environment(tmp_path: Path, lock: Path):
    made = Stamp.of(tmp_path, "3.11", lock)
    lock.write_text("celery==5.7.1\n")

    assert made != Stamp.of(tmp_path, "3.11", lock)
    assert made.can_serve(tmp_path, "3.11")


def test_another_python_or_a_moved_checkout_needs_a_new_environment(tmp_path: Path, lock: Path):
    made = Stamp.of(tmp_path, "3.11", lock)

    assert not made.can_serve(tmp_path, "3.12")
    assert not made.can_serve(tmp_path / "moved", "3.11")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"folder": "x"}'])
def test_a_damaged_stamp_counts_as_none(tmp_path: Path, text: str):
    (tmp_path / "stamp.json").write_text(text)

    assert Stamp.read(tmp_path) is None
