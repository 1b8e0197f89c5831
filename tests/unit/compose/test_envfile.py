import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from compose.private import envfile
from compose.private.envfile import Secrets

VALUES = {"BROKER_URL": "amqp://user:p%40ss@127.0.0.1:5672//", "TRICKY": "a 'b' \"c\" $d #e &f", "EMPTY": ""}


def test_values_survive_the_file(tmp_path: Path):
    envfile.write(tmp_path / "platform.env", VALUES)

    assert envfile.read(tmp_path / "platform.env") == VALUES


def test_a_shell_reads_the_same_values(tmp_path: Path):
    envfile.write(tmp_path / "platform.env", VALUES)

    script = f'. "{tmp_path}/platform.env"; printf %s "$TRICKY"'
    assert subprocess.check_output([shutil.which("sh") or "sh", "-c", script], text=True) == VALUES["TRICKY"]


def test_nobody_else_may_read_it(tmp_path: Path):
    path = tmp_path / "run" / "secrets"
    path.parent.mkdir()
    path.write_text("OLD=1\n")
    path.chmod(0o644)

    envfile.write(path, VALUES)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_break_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="KEY"):
        envfile.write(tmp_path / "platform.env", {"KEY": "one\nPATH=/evil"})


def test_a_missing_file_has_no_values(tmp_path: Path):
    assert envfile.read(tmp_path / "platform.env") == {}


def test_a_secret_is_drawn_once(tmp_path: Path):
    first = Secrets(tmp_path / "secrets")
    password, key = first.get("PASSWORD"), first.get("KEY", size_bytes=8)

    again = Secrets(tmp_path / "secrets")

    assert (again.get("PASSWORD"), again.get("KEY")) == (password, key)
    assert password != key
