"""All of docs/openapi.json, asked of a real server in every wrong and right way that Schemathesis can think of."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compose.private.typescript import DESCRIPTION
from tasks.api import enqueue, enqueue_many
from tasks.models import ApiToken
from tasks.permissions import SCOPES
from tests.acceptance.site import Server
from tests.unit.tasks.factories import letter_of

EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "3")
SEED = os.environ.get("FUZZ_SEED", "7")
# Positive data is refused where it must be: no schema knows which tasks, queues and rows there are. A stream is no
# answer that ends; test_streams.py has it.
COMMAND = (
    "run", str(DESCRIPTION), "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED,
    "--workers", "2", "--request-timeout", "25", "--exclude-path-regex", "/stream$",
    "--exclude-checks", "positive_data_acceptance,unsupported_method",
)  # fmt: skip


@pytest.fixture
def token(committed) -> Iterator[str]:
    token, text = ApiToken.issue("fuzz", sorted(SCOPES), rate_per_minute=0)
    yield text
    token.delete()


def test_every_answer_is_one_that_the_description_has(start_server: Callable[..., Server], token: str, tmp_path: Path):
    """No 5xx, no undocumented status or body, nothing wrong that is taken, no answer that does not come.

    FUZZ_EXAMPLES=100 FUZZ_SEED=9 looks longer, and elsewhere.
    """
    enqueue("probe.echo", {"text": "x"}, requested_by="token:fuzz")
    enqueue_many("probe.echo", [{"text": "x"}] * 3, requested_by="token:fuzz")
    letter_of(error_type="ValueError", error="no")
    program = Path(sys.executable).parent / "schemathesis"
    server = start_server("web", LOG_LEVEL="WARNING")
    done = subprocess.run(
        [program, *COMMAND, "--url", server.url, "--header", f"Authorization: Bearer {token}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600 if EXAMPLES == "3" else None,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
