"""Kinds of work for the load. Each leaves its effect outside as its last act, so that nothing done stays unseen."""

import os
import signal
import time

from pydantic import BaseModel

from tasks.api import JobContext, PermanentError, RetryPolicy, task
from tests.chaos import effects

# An innocent job may be hit many times and must still succeed: what is on trial is the platform, not the policy.
PATIENT = RetryPolicy(max_attempts=20, base_seconds=0.1, cap_seconds=1.0)
STRICT = RetryPolicy(max_attempts=3, base_seconds=0.1, cap_seconds=0.3)
MEGABYTE = 1 << 20


class Errand(BaseModel):
    """Take ``seconds``; the first ``failures`` attempts end as ``how`` says."""

    seconds: float = 0
    failures: int = 0
    how: str = "raise"


def _run(payload: Errand, context: JobContext) -> None:
    time.sleep(payload.seconds)
    if context.attempt <= payload.failures:
        _misbehave(payload.how)
    effects.leave(context.job_id, context.attempt)


def _misbehave(how: str) -> None:
    match how:
        case "raise":
            raise ConnectionError("asked to fail")
        case "permanent":
            raise PermanentError("asked to fail for good")
        case "memory":
            raise MemoryError("asked to run out of memory")
        case "exit":
            raise SystemExit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hog":
            _eat_memory()
        case "hang":
            _ignore_the_soft_limit()
    raise ValueError(how)


def _eat_memory() -> None:
    eaten = []
    while len(eaten) < 400:  # the scenario kills it long before
        eaten.append(b"x" * MEGABYTE)
        time.sleep(0.005)
    time.sleep(30)


def _ignore_the_soft_limit() -> None:
    while True:
        try:
            time.sleep(60)
        except Exception:  # so that the hard limit has to end this
            continue


@task("chaos.errand", payload=Errand, retry=PATIENT, time_limit_seconds=60)
def errand(payload: Errand, context: JobContext) -> None:
    """The common job: it may be hit as often as it likes."""
    _run(payload, context)


@task("chaos.quick", payload=Errand, retry=PATIENT, time_limit_seconds=60)
def quick(payload: Errand, context: JobContext) -> None:
    """So short that several share a turn of a pool child."""
    _run(payload, context)


@task("chaos.strict", payload=Errand, retry=STRICT, time_limit_seconds=2)
def strict(payload: Errand, context: JobContext) -> None:
    """Three attempts of two seconds, for scenarios that count them."""
    _run(payload, context)
