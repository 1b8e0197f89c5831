"""Work that fails on purpose, to watch retries, dead letters and replays."""

from pathlib import Path

from pydantic import BaseModel, Field

from tasks.api import JobContext, PermanentError, RetryPolicy, task


class FlakyPayload(BaseModel):
    """How often to fail."""

    failures: int = Field(2, ge=0, le=10, title="Failures", description="So many attempts fail before one succeeds.")


@task(
    "demo.flaky",
    payload=FlakyPayload,
    retry=RetryPolicy(max_attempts=4, base_seconds=0.5, cap_seconds=2),
    title="Flaky work",
)
def flaky(payload: FlakyPayload, context: JobContext) -> dict[str, int]:
    """Fail a number of times, then succeed: watch the attempts and the waits between them."""
    if context.attempt <= payload.failures:
        raise ConnectionError(f"the other side hung up (attempt {context.attempt} of {payload.failures} that fail)")
    return {"succeeded_at_attempt": context.attempt}


class FragilePayload(BaseModel):
    """What the work can not do without."""

    needs: str = Field(title="Needs the file", description="A path on the worker. While it is missing, the job dies.")


@task("demo.fragile", payload=FragilePayload, title="Fragile work")
def fragile(payload: FragilePayload, context: JobContext) -> dict[str, str]:
    """Die while a file is missing: find the dead letter, put the file in place, replay it."""
    path = Path(payload.needs)
    if not path.is_file():
        raise PermanentError(f"{path} is missing; put it in place, then replay this job")
    return {"found": path.name}
