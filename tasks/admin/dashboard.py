"""The first page: what moves now, the last 24 hours, queues, workers, and what needs a person.

Nothing here reads all of history: moving jobs come by the indexes of their states, ended ones by a window on
``finished_at``.
"""

import json
from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import Count, QuerySet
from django.db.models.functions import TruncHour
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from tasks import brokers, queues, words
from tasks.admin import markup, pausing, run
from tasks.admin.workers import alive, queue_chips
from tasks.brokers import QueueMissing
from tasks.dead_letters import groups, inspection, search
from tasks.errors import BrokerUnavailable
from tasks.models import DeadLetter, Job
from tasks.permissions import missing
from tasks.states import FINAL, JobState
from tasks.topology import TOPOLOGY

DEPTHS_SECONDS = 2
OUTAGE_SECONDS = 5
COUNTS_SECONDS = 2
HOURS_SECONDS = 10
MAX_LETTERS_COUNTED = 1000
MAX_ALERTS = 5
HOURS = 24

UNKNOWN = "unknown"
MISSING = "missing"
_DEPTHS_KEY = "console-depths"


def callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's DASHBOARD_CALLBACK. Never talks to the broker: the queues' depths arrive by the live panel."""
    if not request.user.has_perm("tasks.view_job"):
        return context
    may_see_letters = request.user.has_perm("tasks.view_deadletter")
    hours = throughput()
    return {
        **context,
        **live(request, ask_broker=False),
        "console": True,
        "hours": hours,
        "chart": json.dumps(_chart(hours)),
        "chart_options": json.dumps(CHART_OPTIONS),
        "chart_total": {
            "succeeded": sum(hour["succeeded"] for hour in hours),
            "dead": sum(hour["dead"] for hour in hours),
        },
        "letters": latest_letters() if may_see_letters else None,
        "alerts": fixes_that_failed() if may_see_letters else [],
    }


def live(request: HttpRequest, *, ask_broker: bool = True) -> dict[str, Any]:
    """What the poller swaps. With ``ask_broker`` False depths are only what was asked a moment ago."""
    counts = job_counts()
    depths = depths_of_queues() if ask_broker else cache.get(_DEPTHS_KEY)
    letters = letters_by_queue()
    pauses = queues.paused()
    jobs_url = reverse("admin:tasks_job_changelist")
    may_purge = not missing(request.user, "operations.start", "queues.purge")
    tiles = [
        {
            "label": state.label,
            "state": state.value,
            "count": sum(found for (of_state, _), found in counts.items() if of_state == state),
            "url": f"{jobs_url}?state={state}",
            "note": "",
        }
        for state in JobState
        if state not in FINAL
    ]
    ended = ended_counts()
    tiles += [
        {
            "label": state.label,
            "state": state.value,
            "count": ended.get(state, 0),
            "url": f"{jobs_url}?state={state}",
            "note": "last 24 h",
        }
        for state in (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED)
    ]
    return {
        "tiles": tiles,
        "queues": [
            {
                **_queue_row(queue.name, queue.dead_name, counts, depths, letters),
                "pausing": pausing.cell(request.user, queue.name, pauses.get(queue.name)),
            }
            for queue in TOPOLOGY.queues
        ],
        "may_purge": may_purge,
        "broker_error": (depths or {}).get("error", ""),
        "workers": [
            {"worker": worker, "queues": queue_chips(worker), "seen": markup.moment(worker.seen_at)}
            for worker in alive()
        ],
        "open_letters": sum(letters.values()),
        "asked": depths is not None,
        "kinds": run.kinds() if request.user.has_perm("tasks.add_job") else [],
    }


def _queue_row(name: str, dead_name: str, counts: Any, depths: dict[str, Any] | None, letters: Any) -> dict[str, Any]:
    found = (depths or {}).get("depths", {})
    return {
        "name": name,
        "ready": _depth_cell(found.get(name), asked=depths is not None),
        "queued": counts.get((JobState.QUEUED, name), 0),
        "running": counts.get((JobState.RUNNING, name), 0),
        "dead_name": dead_name,
        "dead_ready": _depth_cell(found.get(dead_name), asked=depths is not None),
        "letters": letters.get(name, 0),
        "jobs_url": f"{reverse('admin:tasks_job_changelist')}?queue={name}&state=live",
        "letters_url": f"{reverse('admin:tasks_deadletter_changelist')}?q=queue:{name}",
        "purge_url": reverse("admin:tasks_queue_purge", args=[name]),
    }


def _depth_cell(found: Any, *, asked: bool) -> dict[str, Any]:
    if not asked:
        return {"text": "…", "title": "Asking the broker", "quiet": True}
    if found is None:
        return {"text": UNKNOWN, "title": "The broker can not be asked", "quiet": True}
    if found == MISSING:
        return {"text": MISSING, "title": "The broker has no such queue: run manage.py topology apply", "quiet": True}
    return {"text": f"{found:,}", "title": "", "quiet": False}


def depths_of_queues() -> dict[str, Any]:
    """``{"depths": {queue: messages ready or "missing"}, "error": why the rest is unknown}``, a moment old at most.

    Stops at the first sign of an outage: waiting for each of sixteen queues in turn would freeze the page.
    """
    if (known := cache.get(_DEPTHS_KEY)) is not None:
        return known
    depths: dict[str, int | str] = {}
    error = ""
    broker = brokers.connect()
    try:
        for name in [name for queue in TOPOLOGY.queues for name in (queue.name, queue.dead_name)]:
            try:
                depths[name] = broker.depth(name)
            except QueueMissing:
                depths[name] = MISSING
    except BrokerUnavailable as outage:
        error = str(outage)
    finally:
        broker.close()
    answer = {"depths": depths, "error": error}
    cache.set(_DEPTHS_KEY, answer, OUTAGE_SECONDS if error else DEPTHS_SECONDS)
    return answer


def job_counts() -> dict[tuple[str, str], int]:
    """Jobs that have not ended, by (state, queue), a moment old at most."""
    return _remembered("console-counts", COUNTS_SECONDS, queues.job_counts)


def ended_counts() -> dict[str, int]:
    """Jobs that ended in the last 24 hours, by state."""

    def count() -> dict[str, int]:
        return dict(_ended().values_list("state").annotate(found=Count("pk")))

    return _remembered("console-ended", HOURS_SECONDS, count)


def throughput() -> list[dict[str, Any]]:
    """The last 24 hours, oldest first: when each began, and how many jobs succeeded and died in it."""

    def count() -> list[dict[str, Any]]:
        ended = _ended().filter(state__in=[JobState.SUCCEEDED, JobState.DEAD])
        rows = ended.annotate(hour=TruncHour("finished_at")).values_list("hour", "state").annotate(found=Count("pk"))
        found = {(hour, state): number for hour, state, number in rows}
        this_hour = timezone.now().replace(minute=0, second=0, microsecond=0)
        hours = [this_hour - timedelta(hours=back) for back in range(HOURS - 1, -1, -1)]
        return [
            {
                "at": hour,
                "label": f"{hour:%H}:00",
                "succeeded": found.get((hour, JobState.SUCCEEDED), 0),
                "dead": found.get((hour, JobState.DEAD), 0),
            }
            for hour in hours
        ]

    return _remembered("console-hours", HOURS_SECONDS, count)


def _ended() -> QuerySet[Job]:
    since = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    return Job.objects.filter(finished_at__gte=since).order_by()


def letters_by_queue() -> dict[str, int]:
    """Open dead letters by queue."""
    rows = DeadLetter.objects.filter(state=DeadLetter.State.OPEN).order_by()
    return dict(rows.values_list("queue").annotate(found=Count("pk")))


def open_letters() -> str:
    """How many dead letters wait for a person, for a badge: "" for none, "999+" for too many."""
    found = DeadLetter.objects.filter(state=DeadLetter.State.OPEN).order_by()[:MAX_LETTERS_COUNTED].count()
    return "" if not found else f"{MAX_LETTERS_COUNTED - 1}+" if found >= MAX_LETTERS_COUNTED else str(found)


def latest_letters() -> list[dict[str, Any]]:
    letters = search.letters("").defer("body", "properties", "traceback", "evidence")
    return [
        {
            "title": words.task_title(letter.task) if letter.task else "Message",
            "url": reverse("admin:tasks_deadletter_change", args=[letter.pk]),
            "reason": markup.reason_badge(letter),
            "error": inspection.error_line(letter),
            "at": markup.moment(letter.died_at),
        }
        for letter in letters[:5]
    ]


def fixes_that_failed() -> list[dict[str, Any]]:
    """Failure groups that came back in a release that was to have the fix."""
    return [
        {
            "title": str(group),
            "message": group.message,
            "url": reverse("admin:tasks_failuregroup_change", args=[group.pk]),
            "release": group.fixed_in_release,
            "owner": group.owner,
            "at": markup.moment(group.reopened_at),
        }
        for group in groups.reopened()[:MAX_ALERTS]
    ]


def _remembered(key: str, seconds: float, count: Any) -> Any:
    """``count()``, asked at most once in ``seconds``: many open dashboards cost the database as much as one."""
    known = cache.get(key)
    if known is None:
        known = count()
        cache.set(key, known, seconds)
    return known


def _chart(hours: list[dict[str, Any]]) -> dict[str, Any]:
    def bars(name: str, label: str, color: str) -> dict[str, Any]:
        data = [hour[name] for hour in hours]
        return {"label": label, "data": data, "backgroundColor": color, "displayYAxis": True, "stack": "ended"}

    return {
        "labels": [hour["label"] for hour in hours],
        "datasets": [bars("succeeded", "Succeeded", "#22a06b"), bars("dead", "Dead", "#e2483d")],
    }


# Unfold's own options hide the legend and draw the bars beside each other; given options replace all of them.
# The grey of the ticks reads on white and on black alike.
_TICKS = {"color": "#8b93a1", "maxRotation": 0, "autoSkip": True}
CHART_OPTIONS = {
    "animation": False,
    "responsive": True,
    "maintainAspectRatio": False,
    "maxBarThickness": 18,
    "interaction": {"mode": "index", "intersect": False},
    "plugins": {
        "legend": {
            "display": True,
            "align": "end",
            "labels": {"color": "#8b93a1", "boxWidth": 8, "boxHeight": 8, "usePointStyle": True},
        }
    },
    "scales": {
        "x": {"stacked": True, "grid": {"display": False}, "border": {"display": False}, "ticks": _TICKS},
        "y": {
            "stacked": True,
            "beginAtZero": True,
            "border": {"display": False},
            "grid": {"lineWidth": 1},
            "ticks": {**_TICKS, "precision": 0, "maxTicksLimit": 5},
        },
    },
}
