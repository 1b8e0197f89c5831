"""The sidebar. An entry is shown to those who may open it, and only where its pages exist."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from tasks.admin import dashboard

RUN = "admin:tasks_job_run_index"


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Unfold's SIDEBAR.navigation."""
    groups = [
        (
            "",
            [
                _entry(request, "Dashboard", "dashboard", "admin:index", None, active=_is_dashboard),
                _entry(
                    request, "Jobs", "work_history", "admin:tasks_job_changelist", "tasks.view_job", active=_is_jobs
                ),
                _entry(request, "Batches", "stacks", "admin:tasks_batch_changelist", "tasks.view_batch"),
                _entry(request, "Run a task", "play_circle", RUN, "tasks.add_job"),
            ],
        ),
        (
            "Recovery desk",
            [
                _entry(
                    request, "Dead letters", "mark_email_unread", "admin:tasks_deadletter_changelist",
                    "tasks.view_deadletter", badge=dashboard.open_letters,
                ),
                _entry(
                    request, "Failure groups", "group_work", "admin:tasks_failuregroup_changelist",
                    "tasks.view_deadletter",
                ),
                _entry(request, "Edits", "rate_review", "admin:tasks_letteredit_changelist", "tasks.view_deadletter"),
                _entry(
                    request, "Operations", "conveyor_belt", "admin:tasks_operation_changelist", "tasks.view_operation"
                ),
                _entry(request, "Redirects", "alt_route", "admin:tasks_redirect_changelist", "tasks.view_redirect"),
            ],
        ),
        (
            "Results",
            [
                _entry(request, "Reports", "description", "admin:reports_report_changelist", "reports.view_report"),
                _entry(request, "Images", "image", "admin:media_image_changelist", "media.view_image"),
                _entry(
                    request, "Notifications", "notifications", "admin:notifications_notification_changelist",
                    "notifications.view_notification",
                ),
            ],
        ),
        (
            "Operation",
            [
                _entry(
                    request, "Workers", "memory", "admin:tasks_workerprocess_changelist", "tasks.view_workerprocess"
                ),
                _entry(
                    request, "Attempts", "history", "admin:django_celery_results_taskresult_changelist",
                    "django_celery_results.view_taskresult",
                ),
                _entry(request, "Requests", "forum", "admin:tasks_request_changelist", "tasks.view_request"),
                _entry(
                    request, "Webhooks", "webhook", "admin:tasks_webhookendpoint_changelist",
                    "tasks.view_webhookendpoint",
                ),
                _outside("Flower", "local_florist", settings.TASKS_FLOWER_URL),
                _entry(request, "API docs", "api", "api:openapi-view", None),
            ],
        ),
        (
            "Access",
            [
                _entry(request, "API tokens", "key", "admin:tasks_apitoken_changelist", "tasks.view_apitoken"),
                _entry(request, "Users", "person", "admin:auth_user_changelist", "auth.view_user"),
                _entry(request, "Groups", "group", "admin:auth_group_changelist", "auth.view_group"),
                _entry(
                    request, "Audit trail", "fact_check", "admin:tasks_auditentry_changelist", "tasks.view_auditentry"
                ),
            ],
        ),
    ]  # fmt: skip
    shown = [(title, [entry for entry in entries if entry is not None]) for title, entries in groups]
    return [{"title": title, "items": entries, "separator": bool(title)} for title, entries in shown if entries]


def _entry(
    request: HttpRequest,
    title: str,
    icon: str,
    view: str,
    permission: str | None,
    *,
    active: Callable[[str, str], bool] | None = None,
    badge: Callable[[], str] | None = None,
) -> dict[str, Any] | None:
    """One line of the sidebar; None without the permission, or where no page of that name is installed."""
    if permission is not None and not request.user.has_perm(permission):
        return None
    try:
        link = reverse(view)
    except NoReverseMatch:
        return None
    entry: dict[str, Any] = {"title": title, "icon": icon, "link": link}
    is_active = active(request.path, link) if active else request.path.startswith(link)
    entry["active"] = is_active
    if badge is not None and (count := badge()):
        entry |= {"badge": count, "badge_variant": "danger"}
    return entry


def _outside(title: str, icon: str, link: str) -> dict[str, Any] | None:
    return {"title": title, "icon": icon, "link": link, "active": False} if link else None


def _is_dashboard(path: str, link: str) -> bool:
    return path == link


def _is_jobs(path: str, link: str) -> bool:
    return path.startswith(link) and not path.startswith(reverse(RUN))
