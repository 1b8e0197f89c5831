"""How an attempt ended, as plain data: it crosses from the pool child to the worker's main process."""

import traceback as tracebacks
from dataclasses import dataclass, field
from typing import Any

from tasks.errors import JobCancelled, PermanentError
from tasks.retry import RetryPolicy

MAX_TYPE_CHARS = 200
MAX_ERROR_CHARS = 10_000
MAX_TRACEBACK_CHARS = 50_000


@dataclass(frozen=True)
class Outcome:
    """``retry_in_seconds`` is None unless the policy allows another attempt; ``reason`` is a DeadLetter.Reason."""

    succeeded: bool
    result: Any = None
    cancelled: bool = False
    error_type: str = ""
    error: str = ""
    traceback: str = ""
    retry_in_seconds: float | None = None
    reason: str = ""
    seconds: float = 0.0
    """How long the attempt ran; 0 where nobody measured it."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """What was seen of a process that did not come back (witness.py)."""

    @property
    def lost(self) -> bool:
        """Whether the attempt ended with its process."""
        return self.reason == "worker_lost"

    @classmethod
    def of_error(cls, error: BaseException, policy: RetryPolicy | None, attempt: int, *, reason: str = "") -> "Outcome":
        """What ``error`` in ``attempt``, counted from the latest replay, leads to; without a policy to the grave."""
        if isinstance(error, JobCancelled):
            return cls(succeeded=False, cancelled=True, error_type="JobCancelled", error=str(error))
        permanent = isinstance(error, (PermanentError, *(policy.permanent if policy else ())))
        return cls(
            succeeded=False,
            error_type=_storable(type(error).__name__)[:MAX_TYPE_CHARS],
            error=_storable(_told(error))[:MAX_ERROR_CHARS],
            traceback=_storable("".join(tracebacks.format_exception(error)))[-MAX_TRACEBACK_CHARS:],
            retry_in_seconds=policy.decide(attempt, error) if policy else None,
            reason=reason or ("permanent" if permanent else "exhausted"),
        )


def _told(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as fault:  # the task's own class may be at fault
        return f"<{type(error).__name__} can not be shown: its __str__ raised {type(fault).__name__}>"


def _storable(text: str) -> str:
    """Without what PostgreSQL refuses in text: NUL and half surrogate pairs."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
