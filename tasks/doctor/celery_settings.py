"""The settings of Celery that keep promises of the platform, and what each keeps (project/settings.py sets them)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from celery import current_app

from tasks.doctor.check import Check, Finding


class Safety(NamedTuple):
    """One setting, the value that is safe, and what happens with another."""

    setting: str
    wanted: Any
    otherwise: str


_SAFE = (
    Safety("task_acks_late", True, "a message is acknowledged before its job runs, and lost with its worker"),
    Safety("task_reject_on_worker_lost", True, "the message of a job whose process was killed is acknowledged"),
    Safety("task_acks_on_failure", False, "the message of a job that failed never reaches its dead queue"),
    Safety("task_acks_on_timeout", False, "the message of a job past its time limit never reaches its dead queue"),
    Safety("task_ignore_result", True, "pool children write results, outside the transaction that ends the job"),
    Safety("result_backend", None, "outcomes are written twice, once without the job's fence"),
    Safety("task_create_missing_queues", False, "a misspelt -Q makes a classic queue without dead letters"),
    Safety("task_serializer", "json", "messages are written that no worker accepts"),
    Safety("accept_content", ["json"], "whoever can publish may run code (pickle), or a worker rejects its own jobs"),
    Safety("worker_consumer", "tasks.worker.consumer:JobConsumer", "undecodable messages are lost, or end the worker"),
    Safety(
        "worker_cancel_long_running_tasks_on_connection_loss",
        False,
        "a lost connection kills jobs whose outcome would have been recorded",
    ),
    Safety("worker_detect_quorum_queues", True, "prefetch is set as quorum queues refuse it, and consuming fails"),
    Safety("broker_connection_retry_on_startup", True, "a worker that starts before its broker ends"),
    Safety("broker_connection_max_retries", None, "a worker gives up on a broker that is away for long"),
    Safety("broker_channel_error_retry", True, "an error on one channel ends the worker"),
    Safety("timezone", "UTC", "schedules shift with daylight saving"),
)
_TASK_CLASS = "tasks.worker.execution:JobTask"
_CONTROL_CLASS = "tasks.worker.mailbox:Control"
_REMEDY = "Take the override out: project/settings.py has the safe value. Restart the workers."


def celery_settings() -> Iterator[Finding]:
    """As this process has them. Workers are told by their own environment and code, which should be the same."""
    conf = current_app.conf
    for setting, wanted, otherwise in _SAFE:
        found = conf.get(setting)
        if found != wanted:
            yield Finding(f"{setting} is {found!r}, not {wanted!r}: {otherwise}", _REMEDY)
    timeouts = conf.broker_transport_options
    if missing := [name for name in ("read_timeout", "write_timeout") if not timeouts.get(name)]:
        names = " and ".join(missing)
        yield Finding(
            f"broker_transport_options has no {names}: a half-open connection hangs a worker for ever", _REMEDY
        )
    if not conf.broker_heartbeat:
        yield Finding("broker_heartbeat is off: a connection that died without a word is never noticed", _REMEDY)
    if current_app.task_cls != _TASK_CLASS:
        yield Finding("the app's task class is another: MemoryError or SystemExit in a task ends its worker", _REMEDY)
    if current_app.control_cls != _CONTROL_CLASS:
        yield Finding("the app's control class is another: a worker that reconnects quickly ends (405)", _REMEDY)


CHECKS = (Check("celery-settings", "every setting that keeps a promise is as it should be", celery_settings),)
