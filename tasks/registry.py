"""TaskSpec and the name -> spec table behind ``@task``."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel

from tasks.errors import UnknownTask
from tasks.retry import RetryPolicy
from tasks.topology import TOPOLOGY, WORK_QUEUE, Queue

TaskFunction = Callable[..., Any]

Part = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Makes the payload of a task that has a part in a type of envelope; None where its data has nothing for the task.
Raises a ValidationError of Pydantic for data that is wrong."""

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
    aliases: tuple[str, ...] = ()
    effect: str = ""
    envelope_type: str = ""
    parts: Mapping[str, Part] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Every task name that its jobs may bear: its own first, then those it had before."""
        return (self.name, *self.aliases)

    @property
    def envelope_types(self) -> list[str]:
        """What foreign producers call it, beside its name: its own type, and those that it has a part in."""
        return [type for type in (self.envelope_type, *self.parts) if type]

    @property
    def is_internal(self) -> bool:
        """Whether it is the platform's own (pruning, alerts, deliveries), which nobody asks for from outside."""
        return self.name.startswith("platform.")

    @property
    def soft_time_limit_seconds(self) -> float:
        """When the function is told (SoftTimeLimitExceeded) that its process ends soon: 5 s or a tenth before."""
        return self.time_limit_seconds - min(5.0, self.time_limit_seconds / 10)


class Registry:
    """The kinds of work this build knows, by name. Aliases lead to them, and are not listed."""

    def __init__(self) -> None:
        self._specs: dict[str, TaskSpec] = {}  # by name and by alias

    def add(self, spec: TaskSpec) -> None:
        """ImproperlyConfigured when another function has the name, or one of the aliases, already."""
        for name in spec.names:
            self._check_free(name, spec)
        twin = self.of_type(spec.envelope_type) if spec.envelope_type else None
        if twin is not None and twin.name != spec.name:
            raise ImproperlyConfigured(
                f"tasks {twin.name!r} and {spec.name!r} both take {spec.envelope_type!r} envelopes"
            )
        self._specs |= dict.fromkeys(spec.names, spec)

    def get(self, name: str) -> TaskSpec:
        """The spec called ``name``, now or formerly. Raises UnknownTask, which lists the names there are."""
        try:
            return self._specs[name]
        except KeyError:
            raise UnknownTask(name, [spec.name for spec in self]) from None

    def names_of(self, name: str) -> tuple[str, ...]:
        """Every name that jobs of the task called ``name`` may bear; of an unknown task that name alone."""
        return self._specs[name].names if name in self._specs else (name,)

    def of_type(self, type: str) -> TaskSpec | None:
        """The task that envelopes of ``type`` are for, which is what it calls itself to foreign producers or its own
        name; None where nothing takes it, or the platform alone may ask for it."""
        named = next((spec for spec in self if spec.envelope_type == type), None) or self._specs.get(type)
        return None if named is None or named.is_internal else named

    def sharing(self, type: str) -> list[TaskSpec]:
        """The tasks that have a part in envelopes of ``type``, in the order of their names."""
        return [spec for spec in self if type in spec.parts]

    def types(self) -> list[str]:
        """Every type of envelope that has a name of its own."""
        return sorted({type for spec in self for type in spec.envelope_types})

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __iter__(self) -> Iterator[TaskSpec]:
        listed = [spec for name, spec in self._specs.items() if name == spec.name]
        return iter(sorted(listed, key=lambda spec: spec.name))

    def _check_free(self, name: str, spec: TaskSpec) -> None:
        known = self._specs.get(name)
        if known is None:
            return
        if known.name != spec.name:
            raise ImproperlyConfigured(
                f"task {spec.name!r}: {name!r} is a name or an alias of task {known.name!r}: change one of the two"
            )
        if known.function.__qualname__ != spec.function.__qualname__:
            raise ImproperlyConfigured(f"two functions are registered as task {name!r}; rename one of them")


registry = Registry()


def task(
    name: str,
    *,
    payload: type[BaseModel],
    queue: str = WORK_QUEUE,
    retry: RetryPolicy | None = None,
    time_limit_seconds: float = 300,
    title: str = "",
    aliases: Sequence[str] = (),
    effect: str = "",
    envelope_type: str = "",
    parts: Mapping[str, Part] | None = None,
) -> Callable[[TaskFunction], TaskFunction]:
    """Register ``function(payload, context)`` as the work called ``name`` ("reports.build").

    The function gets its validated ``payload`` and a JobContext; what it returns (JSON-able, a Pydantic model or None)
    is the job's result. Raise PermanentError to bury the job, RetryLater for another attempt; any other exception is
    retried as ``retry`` says. ``time_limit_seconds`` ends the attempt, 1 to 1,800 s. ``title`` and the function's
    docstring are what operators read. ``effect`` names the last step that it runs with ``context.once``: a dead job
    that has done it has done all it was for, and is left out when many are replayed.

    ``aliases`` are names that it had before: what was enqueued under one, and whoever still asks for it, gets this
    function. While two builds run side by side the older one knows the new name only if that was an alias there: add
    the new name as an alias, deploy, then let the two change places.

    ``envelope_type`` is what foreign producers call it ("email"); its data is the payload. ``parts`` are types that
    several tasks share ("notification"), with what makes this one's payload of their data.

    Raises ImproperlyConfigured for a bad name, queue or limit, or a name that is taken, at import.
    """
    if isinstance(aliases, str):
        raise ImproperlyConfigured(f"task {name!r}: aliases is a tuple of names, like ({aliases!r},)")
    for each in (name, *aliases):
        if not _NAME.fullmatch(each):
            raise ImproperlyConfigured(f"task {each!r}: a name is dotted lower case, like 'reports.build'")
    if len({name, *aliases}) <= len(aliases):
        raise ImproperlyConfigured(f"task {name!r}: aliases are its earlier names, each once")
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
                aliases=tuple(aliases),
                effect=effect,
                envelope_type=envelope_type,
                parts=parts or {},
            )
        )
        return function

    return register
