"""The few pieces of HTML that lists, pages and the live poller share, so that a swapped piece looks like the first."""

from datetime import datetime
from uuid import UUID

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from tasks import words
from tasks.dead_letters.groups import Status
from tasks.models import DeadLetter, Job
from tasks.states import JobState

NOTHING = SafeString('<span class="tp-quiet">-</span>')

# An icon beside the colour: about one man in twelve can not tell the red badge from the green one.
_STATE_ICONS: dict[str, str] = {
    JobState.SCHEDULED: "schedule",
    JobState.QUEUED: "hourglass_empty",
    JobState.RUNNING: "play_arrow",
    JobState.RETRYING: "replay",
    JobState.SUCCEEDED: "check",
    JobState.DEAD: "close",
    JobState.CANCELLED: "block",
}


def badge(text: object, kind: str, icon: str = "") -> SafeString:
    """``kind`` names the colour: a job state, or ok, bad, warn, quiet."""
    mark = format_html('<span class="material-symbols-outlined" aria-hidden="true">{}</span>', icon) if icon else ""
    return format_html('<span class="tp-badge tp-badge-{}">{}{}</span>', kind, mark, text)


def state_badge(state: str) -> SafeString:
    return badge(JobState(state).label, state, _STATE_ICONS[state])


def progress_bar(job: Job) -> SafeString | str:
    """A bar while a total is known, a moving one while it is not, nothing before the work begins."""
    if job.state != JobState.RUNNING and not (job.progress_total and not job.is_final):
        return ""
    percent = job.progress_percent
    if percent is None:
        text = f"{job.progress_done:,} done" if job.progress_done else "working"
        value, style = SafeString(""), SafeString(' class="tp-bar tp-bar-unknown"')
    else:
        text = f"{percent} %"
        value = format_html(' aria-valuenow="{}" aria-valuemin="0" aria-valuemax="100"', str(percent))
        style = SafeString(' class="tp-bar"')
    return format_html(
        '<span class="tp-progress"><span role="progressbar" aria-label="Progress of the job"{}{}>'
        '<span style="width: {}%"></span></span><span class="tp-progress-text">{}{}</span></span>',
        value,
        style,
        str(percent or 0),
        text,
        f", {job.progress_note}" if job.progress_note else "",
    )


def state_and_progress(job: Job, *, swap: bool = False) -> SafeString:
    """Badge and bar in one element: swapped apart they could contradict each other."""
    asked = badge("Stopping", "warn", "front_hand") if job.cancel_requested_at and not job.is_final else ""
    return format_html(
        '<span id="state-{}" class="tp-state{}"{}>{}{}{}</span>',
        job.pk,
        "" if job.is_final else " is-live",
        _swap(swap),
        state_badge(job.state),
        asked,
        progress_bar(job),
    )


def attempts(job: Job, *, swap: bool = False) -> SafeString:
    return format_html('<span id="attempt-{}"{}>{}</span>', job.pk, _swap(swap), words.attempts(job))


def timing(job: Job, *, swap: bool = False) -> SafeString:
    """How long it ran, has run, or has still to wait."""
    now = timezone.now()
    if job.state == JobState.RUNNING and job.started_at:
        text: object = f"running {words.duration((now - job.started_at).total_seconds())}"
    elif job.state in (JobState.SCHEDULED, JobState.RETRYING) and job.due_at:
        text = format_html("due {}", moment(job.due_at)) if job.due_at > now else "due now"
    elif job.state == JobState.QUEUED:
        text = f"waiting {words.duration((now - (job.queued_at or job.created_at)).total_seconds())}"
    elif job.finished_at and job.started_at and job.finished_at >= job.started_at:
        text = f"ran {words.duration((job.finished_at - job.started_at).total_seconds())}"
    else:
        text = NOTHING
    return format_html('<span id="timing-{}" class="tp-nowrap"{}>{}</span>', job.pk, _swap(swap), text)


def moment(at: datetime | None) -> SafeString:
    """A relative time; the exact one, ISO 8601, shows on hover and to machines."""
    if at is None:
        return NOTHING
    iso = at.isoformat(timespec="seconds")
    return format_html(
        '<time class="tp-nowrap" datetime="{}" title="{}">{}</time>', iso, iso, words.relative(at, timezone.now())
    )


def job_link(job_id: object, text: object) -> SafeString:
    return format_html(
        '<a class="tp-link tp-nowrap" href="{}">{}</a>', reverse("admin:tasks_job_change", args=[job_id]), text
    )


def short(id: UUID) -> str:
    """Beginning and end: those made at about the same time have the first letters in common."""
    return f"{str(id)[:8]}…{str(id)[-4:]}"


def reason_badge(letter: DeadLetter) -> SafeString:
    return badge(letter.get_reason_display(), "bad")


_LETTER_STATES: dict[str, tuple[str, str]] = {
    DeadLetter.State.OPEN: ("warn", "mail"),
    DeadLetter.State.REPLAYED: ("ok", "replay"),
    DeadLetter.State.DISCARDED: ("quiet", "delete"),
}


def letter_state(letter: DeadLetter) -> SafeString:
    return badge(letter.get_state_display(), *_LETTER_STATES[letter.state])


_GROUP_STATUSES: dict[str, tuple[str, str]] = {
    Status.OPEN: ("warn", "error"),
    Status.REOPENED: ("bad", "undo"),
    Status.SNOOZED: ("quiet", "snooze"),
    Status.FIXED: ("ok", "check"),
}


def group_status(status: Status) -> SafeString:
    return badge(status.label, *_GROUP_STATUSES[status])


def _swap(swap: bool) -> SafeString:
    return SafeString(' hx-swap-oob="true"' if swap else "")
