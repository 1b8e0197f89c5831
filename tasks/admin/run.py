"""Run a task by hand: a page that lists the kinds of work, and a form for each."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from tasks.admin.forms import OptionsForm, PayloadForm
from tasks.dispatch import enqueue
from tasks.errors import InvalidJob, UnknownTask
from tasks.models import Job
from tasks.payloads import dump_payload
from tasks.registry import TaskSpec, registry
from tasks.uploads import save_uploads


def kinds() -> list[dict[str, Any]]:
    """Every registered kind of work, as lists show it."""
    return [
        {
            "name": spec.name,
            "title": spec.title,
            "about": spec.description.split("\n\n")[0].replace("\n", " "),
            "queue": spec.queue.name,
            "url": reverse("admin:tasks_job_run", args=[spec.name]),
        }
        for spec in registry
    ]


def index(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    _require_add(request)
    context = {**_context(admin, request), "title": "Run a task", "kinds": kinds()}
    return TemplateResponse(request, "tasks/admin/run_index.html", context)


def form(admin: ModelAdmin, request: HttpRequest, task: str) -> HttpResponse:
    """The form on GET; on POST the job's page, or the form again with each problem at its field."""
    _require_add(request)
    try:
        spec = registry.get(task)
    except UnknownTask as error:
        raise Http404(str(error)) from None
    posted = (request.POST, request.FILES) if request.method == "POST" else ()
    payload_form, options_form = PayloadForm(spec, *posted), OptionsForm(*posted[:1])
    if request.method == "POST":
        known = _jobs_of_key(spec, request.POST.get(options_form.add_prefix("idempotency_key"), ""))
        job = _enqueue(spec, payload_form, options_form, request.user.get_username())
        if job is not None:
            _tell(request, job, is_first=job.pk not in known)
            return HttpResponseRedirect(_after(request, job))
    context = {
        **_context(admin, request),
        "title": spec.title,
        "spec": spec,
        "payload_form": payload_form,
        "options_form": options_form,
    }
    return TemplateResponse(request, "tasks/admin/run.html", context)


def _enqueue(spec: TaskSpec, payload_form: PayloadForm, options_form: OptionsForm, who: str) -> Job | None:
    """The job; None when something is wrong, which then stands in the forms. Uploads are kept only with their job."""
    read = [payload_form.is_valid(), options_form.is_valid()]
    try:
        if not all(read):
            dump_payload(spec, payload_form.payload())  # tell all that is wrong at once
            return None
        with transaction.atomic():
            job = enqueue(spec.name, payload_form.payload(), requested_by=who, **options_form.options())
            save_uploads(payload_form.uploads())
        return job
    except InvalidJob as error:
        for problem in error.problems:
            _show(payload_form, options_form, problem["field"], problem["message"])
        return None


def _show(payload_form: PayloadForm, options_form: OptionsForm, field: str, message: str) -> None:
    where, _, rest = field.partition(".")
    if field in options_form.fields:
        options_form.add_error(field, message)
    elif where == "payload":
        payload_form.show(rest, message)
    else:
        payload_form.show("", f"{field}: {message}")


def _jobs_of_key(spec: TaskSpec, key: str) -> set[UUID]:
    """What the key stands for already. The job's own time does not tell: it is the database's."""
    of_key = Job.objects.filter(task__in=spec.names, idempotency_key=key.strip())
    return set(of_key.values_list("pk", flat=True)) if key.strip() else set()


def _tell(request: HttpRequest, job: Job, *, is_first: bool) -> None:
    if not is_first:
        messages.info(request, "This key was used before: here is the first job, and nothing was added.")
    elif job.due_at:
        messages.success(request, f"The job is scheduled for {job.due_at:%Y-%m-%d %H:%M:%S} UTC.")
    else:
        messages.success(request, "The job is queued.")


def _after(request: HttpRequest, job: Job) -> str:
    """The job's page, or the form again for somebody who may run work and not look at jobs."""
    if request.user.has_perm("tasks.view_job"):
        return reverse("admin:tasks_job_change", args=[job.pk])
    return reverse("admin:tasks_job_run_index")


def _require_add(request: HttpRequest) -> None:
    # Not the ModelAdmin's own answer: that is "no", since jobs have no add form.
    if not request.user.has_perm("tasks.add_job"):
        raise PermissionDenied


def _context(admin: ModelAdmin, request: HttpRequest) -> dict[str, Any]:
    request.current_app = admin.admin_site.name
    return {**admin.admin_site.each_context(request), "is_nav_sidebar_enabled": True}
