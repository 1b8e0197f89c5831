"""``python -m tasks.dead_letters.sandbox <file descriptor>``: rehearse the job that stdin describes, and tell."""

import faulthandler
import json
import logging
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import django
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import connections

from tasks.dead_letters.sandbox import telling
from tasks.dead_letters.sandbox.telling import tell, tell_whole


def main() -> None:
    faulthandler.enable()
    telling.begin(int(sys.argv[1]))
    order = json.load(sys.stdin)
    folder = Path(order["folder"])
    _point_inwards(order, folder)
    django.setup()
    _listen()
    _run(order, folder)


def _point_inwards(order: dict[str, Any], folder: Path) -> None:
    """Before anything is set up by them: all that a task reaches by Django's settings."""
    storages: dict[str, dict[str, Any]] = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        **settings.STORAGES,
    }
    settings.DATABASES = order["databases"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.EMAIL_BACKEND = "tasks.dead_letters.sandbox.mail.EmailBackend"
    settings.CELERY_BROKER_URL = "memory://"
    settings.LOGGING_CONFIG = None
    settings.STORAGES = {
        alias: storage
        if alias == "staticfiles"
        else {
            "BACKEND": "tasks.dead_letters.sandbox.storage.OverlayStorage",
            "OPTIONS": {
                "location": str(folder / "files" / ("" if alias == "default" else alias)),
                "backend": storage["BACKEND"],
                "options": {**_located(storage, order["media_root"]), **storage.get("OPTIONS", {})},
            },
        }
        for alias, storage in storages.items()
    }
    settings.MEDIA_ROOT = str(folder / "files")


def _located(storage: dict[str, Any], media_root: str) -> dict[str, str]:
    from django.core.files.storage import FileSystemStorage
    from django.utils.module_loading import import_string

    backend = import_string(storage["BACKEND"])
    return {"location": media_root} if isinstance(backend, type) and issubclass(backend, FileSystemStorage) else {}


class _Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell("log", level=record.levelname, logger=record.name, message=self.format(record))


def _listen() -> None:
    """Tell of log lines, and of jobs that are inserted, whichever way."""
    from tasks import batches, insertion

    logging.root.addHandler(_Told())
    logging.root.setLevel(logging.INFO)
    insert_rows = insertion.insert_rows

    def told(new_jobs: Any) -> Any:
        inserted = insert_rows(new_jobs)
        for new in new_jobs:
            if new.id in inserted:
                tell("job", task=new.task, queue=new.queue, due_at=inserted[new.id].due_at)
        return inserted

    insertion.insert_rows = batches.insert_rows = told


def _run(order: dict[str, Any], folder: Path) -> None:
    from tasks.dead_letters.sandbox.containment import contain
    from tasks.dead_letters.sandbox.database import keep_nothing, tell_rows
    from tasks.errors import InvalidJob
    from tasks.payloads import load_payload
    from tasks.registry import registry
    from tasks.worker.execution import as_json
    from tasks.worker.outcome import Outcome

    spec = registry.get(order["task"])
    keep_nothing()
    for alias in connections:
        connections[alias].ensure_connection()
    context = _context(order)
    signal.signal(signal.SIGALRM, _remind)
    contain(folder)
    tell("begin")
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, order["soft_limit_seconds"])
    try:
        result = as_json(spec.function(load_payload(spec, order["payload"]), context))
        outcome = Outcome(succeeded=True, result=result)
    except InvalidJob as error:
        outcome = Outcome.of_error(error, None, order["number"], reason="invalid_payload")
    except BaseException as error:
        outcome = Outcome.of_error(error, spec.retry, order["number"])
    signal.setitimer(signal.ITIMER_REAL, 0)
    tell_rows()
    tell_whole("end", seconds=time.monotonic() - began, outcome=asdict(outcome))


def _context(order: dict[str, Any]) -> Any:
    from tasks.dead_letters.sandbox.context import RehearsalContext

    return RehearsalContext(
        UUID(order["job_id"]),
        order["attempt"],
        task=order["task"],
        metadata=order["metadata"],
        requested_by=order["requested_by"],
    )


def _remind(number: int, frame: object) -> NoReturn:
    raise SoftTimeLimitExceeded


if __name__ == "__main__":
    main()
