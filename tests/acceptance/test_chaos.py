"""A short reading from the book of faults; `make chaos` plays all of it."""

import os
import subprocess
import sys

from tests.acceptance.conftest import ROOT

FEW = ("worker-sigkill", "queue-purged", "double-delivery")


def play(directory, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The runner brings servers of its own, to break; it must not meet those of this session."""
    command = [sys.executable, "-m", "tests.chaos", "--seed", "7", "--directory", str(directory), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=600
    )


def test_a_few_scenarios_add_up(tmp_path):
    done = play(tmp_path, "--scenario", *FEW)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"{name:<28} ok" in done.stdout for name in FEW), done.stdout


def test_a_platform_whose_claims_are_not_fenced_is_found_out(tmp_path):
    done = play(tmp_path, "--scenario", "double-delivery", "--mutation", "fencing-off")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "double-delivery              RED" in done.stdout
    assert "ended twice: succeeded, then succeeded" in done.stdout
