"""Where a dead job goes when it is replayed: what a person names stays, standing redirects decide the rest.

Of the redirects that fit, the one that says most wins: task and queue, then the task, then the queue. Where it leads
to, another may apply, but none that was passed over. One that leads to where the job is already ends the way.

A task that had other names is the same task under each; one from just the name that a job bears goes first.
"""

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from tasks import audit
from tasks.dispatch import text_problems
from tasks.errors import InvalidJob
from tasks.models import DeadLetter, Job, Redirect
from tasks.registry import registry
from tasks.states import Priority
from tasks.topology import PRIORITY_QUEUE, TOPOLOGY

MAX_REASON = 500
ANY_OTHER = ""  # a task or queue that no redirect names


class Destination(NamedTuple):
    task: str
    queue: str

    def __str__(self) -> str:
        return f"{self.task or 'any task'} on {self.queue or 'any queue'}"


def destination(
    task: str, queue: str, *, priority: str = Priority.NORMAL, to_task: str = "", to_queue: str = ""
) -> Destination:
    """Where a job that was ``task`` on ``queue`` is replayed. ``to_task`` and ``to_queue`` are what a person names.

    A task's own queue is where its new jobs wait, which for priority high is the priority queue.

    Raises InvalidJob when a name is not known here, or when the standing redirects lead in a circle.
    """
    problems = problems_of_target(to_task, to_queue)
    if problems:
        raise InvalidJob(problems)
    to_task = registry.get(to_task).name if to_task else ""
    if to_task not in ("", task):
        queue = own_queue(to_task, priority)
    start = Destination(to_task or task, to_queue or queue)
    return _follow(Redirect.objects.all(), start, priority, task_stays=bool(to_task), queue_stays=bool(to_queue))


def of_job(job: Job, *, to_task: str = "", to_queue: str = "") -> Destination:
    """``destination`` of a job's row."""
    return destination(job.task, job.queue, priority=job.priority, to_task=to_task, to_queue=to_queue)


def destination_of_message(task: str, queue: str, *, to_queue: str = "") -> str:
    """The queue on which a message without a job is sent again: its bytes say what it asks for, so its task stays.

    Raises InvalidJob as ``destination`` does.
    """
    if problems := problems_of_target("", to_queue):
        raise InvalidJob(problems)
    start = Destination(task, to_queue or queue)
    return _follow(Redirect.objects.all(), start, Priority.NORMAL, task_stays=True, queue_stays=bool(to_queue)).queue


def own_queue(task: str, priority: str = Priority.NORMAL) -> str:
    """Where new jobs of ``task`` wait. Raises UnknownTask."""
    spec = registry.get(task)
    return PRIORITY_QUEUE if priority == Priority.HIGH else spec.queue.name


def add(
    *,
    from_task: str = "",
    from_queue: str = "",
    to_task: str = "",
    to_queue: str = "",
    requested_by: str,
    reason: str,
) -> Redirect:
    """A new standing order for every replay from now on. What it comes from may be unknown here: that is often why.

    Raises InvalidJob, naming every fault: a target that is not known, a loop, or that the same way is redirected yet.
    """
    new = Redirect(
        from_task=from_task,
        from_queue=from_queue,
        to_task=to_task,
        to_queue=to_queue,
        reason=reason.strip(),
        created_by=requested_by,
    )
    problems = _problems_of(new)
    if problems:
        raise InvalidJob(problems)
    with transaction.atomic():
        # First of all: whoever records holds the others off, so two that make a loop together do not miss each other.
        audit.record(requested_by, "dead_letters.redirect", _in_words(new), reason=reason, detail={"added": True})
        standing = list(Redirect.objects.all())
        if any((old.from_task, old.from_queue) == (from_task, from_queue) for old in standing):
            field = "from_task" if from_task else "from_queue"
            raise InvalidJob([{"field": field, "message": "is redirected already; remove that redirect first"}])
        if circle := _circle([*standing, new]):
            field = "to_task" if to_task else "to_queue"
            raise InvalidJob([{"field": field, "message": f"makes a loop: {circle}"}])
        new.save(force_insert=True)
        new.refresh_from_db()
    return new


def standing() -> list[Redirect]:
    """Every redirect, oldest first."""
    return list(Redirect.objects.order_by("id"))


def remove(redirect_id: int, *, requested_by: str, reason: str = "") -> None:
    """End a standing order; what it has moved stays where it is. Raises Redirect.DoesNotExist."""
    with transaction.atomic():
        redirect = Redirect.objects.select_for_update().get(pk=redirect_id)
        said = {"added": False}
        audit.record(requested_by, "dead_letters.redirect", _in_words(redirect), reason=reason, detail=said)
        redirect.delete()


def query_of(redirect: Redirect) -> dict[str, str]:
    """What it applies to now, in the words of a search."""
    return {name: value for name, value in (("task", redirect.from_task), ("queue", redirect.from_queue)) if value}


def matching(redirect: Redirect) -> QuerySet[DeadLetter]:
    """The open letters that it applies to."""
    found = DeadLetter.objects.filter(state=DeadLetter.State.OPEN)
    if redirect.from_task:
        found = found.filter(task__in=registry.names_of(redirect.from_task))
    return found.filter(queue=redirect.from_queue) if redirect.from_queue else found


def problems_of_target(to_task: str, to_queue: str) -> list[dict[str, str]]:
    """What is wrong with a task and a queue to replay on, each of which may be left empty."""
    problems: list[dict[str, str]] = []
    if to_task and to_task not in registry:
        known = ", ".join(spec.name for spec in registry)
        problems.append({"field": "task", "message": f"no task {to_task!r}; there are {known}"})
    if to_queue and to_queue not in TOPOLOGY.queue_names:
        known = ", ".join(TOPOLOGY.queue_names)
        problems.append({"field": "queue", "message": f"no queue {to_queue!r}; there are {known}"})
    return problems


def _problems_of(new: Redirect) -> list[dict[str, str]]:
    problems = [
        {**problem, "field": f"to_{problem['field']}"} for problem in problems_of_target(new.to_task, new.to_queue)
    ]
    if not new.from_task and not new.from_queue:
        problems.append({"field": "from_task", "message": "name a task, a queue, or both to redirect"})
    if not new.to_task and not new.to_queue:
        problems.append({"field": "to_task", "message": "name a task, a queue, or both to redirect to"})
    if not new.reason:
        problems.append({"field": "reason", "message": "say why: whoever replays later will ask"})
    if len(new.reason) > MAX_REASON:
        problems.append({"field": "reason", "message": f"has {len(new.reason)} characters and may have {MAX_REASON}"})
    if len(new.from_queue) > 100:
        problems.append({"field": "from_queue", "message": "has more than 100 characters"})
    problems += text_problems(from_task=new.from_task, requested_by=new.created_by)
    stays_task = new.to_task in ("", new.from_task)
    stays_queue = new.to_queue == new.from_queue or (not new.to_queue and not new.from_queue)
    if not problems and stays_task and stays_queue:
        problems.append({"field": "to_queue", "message": "leads to where it comes from"})
    return problems


def _follow(
    redirects: Iterable[Redirect],
    start: Destination,
    priority: str,
    *,
    task_stays: bool = False,
    queue_stays: bool = False,
) -> Destination:
    ways = {(redirect.from_task, redirect.from_queue): redirect for redirect in redirects}
    place, been, passed_over = start, [start], set[tuple[str, str]]()
    while fitting := [key for key in _keys(place) if key in ways and key not in passed_over]:
        way = ways[fitting[0]]
        passed_over |= set(fitting[1:])  # else what holds in general would undo what holds for this one
        moves_task = bool(way.to_task) and not task_stays
        task = way.to_task if moves_task else place.task
        queue = place.queue
        if not queue_stays and (way.to_queue or moves_task):
            queue = way.to_queue or own_queue(task, priority)
        if (task, queue) == place:
            break
        place = Destination(task, queue)
        if place in been:  # of a task that declares another queue by now, too
            path = " -> ".join(map(str, [*been, place]))
            raise InvalidJob([{"field": "queue", "message": f"redirects lead in a circle ({path}); remove one"}])
        been.append(place)
    return place


def _keys(place: Destination) -> tuple[tuple[str, str], ...]:
    """What a redirect from ``place`` may be from, the one that says most first."""
    names = dict.fromkeys((place.task, *registry.names_of(place.task)))
    both, task = [(name, place.queue) for name in names], [(name, "") for name in names]
    return tuple(dict.fromkeys([*both, *task, ("", place.queue)]))


def _circle(redirects: list[Redirect]) -> str:
    """The way of the first job that would go round in circles, in words; empty when all arrive."""
    known = [redirect for redirect in redirects if not redirect.to_task or redirect.to_task in registry]
    tasks = {ANY_OTHER} | {name for redirect in known for name in (redirect.from_task, redirect.to_task)}
    queues = {ANY_OTHER, *TOPOLOGY.queue_names} | {redirect.from_queue for redirect in known}
    for task, queue, priority in product(sorted(tasks), sorted(queues), Priority.values):
        try:
            _follow(known, Destination(task, queue), priority)
        except InvalidJob as error:
            return error.problems[0]["message"].partition("(")[2].partition(")")[0]
    return ""


def _in_words(redirect: Redirect) -> str:
    come = Destination(redirect.from_task, redirect.from_queue)
    to = " on ".join(part for part in (redirect.to_task, redirect.to_queue) if part)
    return f"{come} -> {to}"
