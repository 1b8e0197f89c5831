"""TaskSpec and the name -> spec table behind ``@task``."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel

from tasks.errors import UnknownTask
from tasks.retry import RetryPolicy
from tasks.topology import TOPOLOGY, WORK_QUEUE, Queue

TaskFunction = Callable[..., Any]

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One kind of work: its name on the wire, its payload's shape, where it waits and how it is retried."""

    name: str
    function: TaskFunction = field(repr=False)
    payload: type[BaseModel]
    queue: Queue
    retry: RetryPolicy
    time_limit_seconds: float
    title: str
    description: str
    effect: str = ""

    @property
    def soft_time_limit_seconds(self) -> float:
        """When the function is told (SoftTimeLimitExceeded) that its process ends soon: 5 s or a tenth before."""
        return self.time_limit_seconds - min(5.0, self.time_limit_seconds / 10)


class Registry:
    """The kinds of work this build knows, by name."""

    def __init__(self) -> None:
        self._specs: dict[str, TaskSpec] = {}

    def add(self, spec: TaskSpec) -> None:
        """ImproperlyConfigured when another function has the name already."""
        known = self._specs.get(spec.name)
        if known and known.function.__qualname__ != spec.function.__qualname__:
            raise ImproperlyConfigured(f"two functions are registered as task {spec.name!r}; rename one of them")
        self._specs[spec.name] = spec

    def get(self, name: str) -> TaskSpec:
        """The spec called ``name``. Raises UnknownTask, which lists the names there are."""
        try:
            return self._specs[name]
        except KeyError:
            raise UnknownTask(name, sorted(self._specs)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __iter__(self) -> Iterator[TaskSpec]:
        return iter(sorted(self._specs.values(), key=lambda spec: spec.name))


registry = Registry()


def task(
    name: str,
    *,
    payload: type[BaseModel],
    queue: str = WORK_QUEUE,
    retry: RetryPolicy | None = None,
    time_limit_seconds: float = 300,
    title: str = "",
    effect: str = "",
) -> Callable[[TaskFunction], TaskFunction]:
    """Register ``function(payload, context)`` as the work called ``name`` ("reports.build").

    The function gets its validated ``payload`` and a JobContext; what it returns (JSON-able, a Pydantic model or None)
    is the job's result. Raise PermanentError to bury the job, RetryLater for another attempt; any other exception is
    retried as ``retry`` says. ``time_limit_seconds`` ends the attempt, 1 to 1,800 s. ``title`` and the function's
    docstring are what operators read. ``effect`` names the last step that it runs with ``context.once``: a dead job
    that has done it has done all it was for, and is left out when many are replayed.

    Raises ImproperlyConfigured for a bad name, queue or limit, at import.
    """
    if not _NAME.fullmatch(name):
        raise ImproperlyConfigured(f"task {name!r}: a name is dotted lower case, like 'reports.build'")
    if not 1 <= time_limit_seconds <= 1800:
        raise ImproperlyConfigured(f"task {name!r}: time_limit_seconds is 1 to 1800, got {time_limit_seconds}")
    try:
        declared = TOPOLOGY.queue(queue)
    except KeyError as error:
        raise ImproperlyConfigured(f"task {name!r}: {error.args[0]}") from None

    def register(function: TaskFunction) -> TaskFunction:
        registry.add(
            TaskSpec(
                name=name,
                function=function,
                payload=payload,
                queue=declared,
                retry=retry or RetryPolicy(),
                time_limit_seconds=time_limit_seconds,
                title=title or name,
                description=(function.__doc__ or "").strip(),
                effect=effect,
            )
        )
        return function

    return register
