"""Kinds of work that misbehave on request, each leaving a line in a file that the test can count."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from celery.worker.control import control_command
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from pydantic import BaseModel

from tasks.api import JobContext, PermanentError, RetryLater, RetryPolicy, enqueue, enqueue_many, task

QUICK = RetryPolicy(max_attempts=3, base_seconds=0.1, cap_seconds=0.2)


class Probe(BaseModel):
    """``trace`` is a file that gets one line for each run."""

    trace: str = ""
    text: str = ""
    seconds: float = 0
    failures: int = 0
    how: str = "raise"


def _trace(payload: Probe, context: JobContext, what: str) -> None:
    if payload.trace:
        with Path(payload.trace).open("a") as lines:
            lines.write(f"{what} {context.job_id}.{context.attempt} {os.getpid()}\n")


@task("probe.echo", payload=Probe, retry=QUICK)
def echo(payload: Probe, context: JobContext) -> dict[str, str]:
    """Return the text."""
    _trace(payload, context, "run")
    return {"text": payload.text}


@task("probe.renamed", payload=Probe, retry=QUICK, aliases=("probe.old_name",))
def renamed(payload: Probe, context: JobContext) -> str:
    """Return what it is called today."""
    _trace(payload, context, "run")
    return context.task


@task("probe.sleep", payload=Probe, retry=QUICK, time_limit_seconds=120)
def sleep(payload: Probe, context: JobContext) -> None:
    """Take a while, with progress and checkpoints."""
    _trace(payload, context, "begin")
    end = time.monotonic() + payload.seconds
    while time.monotonic() < end:
        context.checkpoint()
        context.progress(int(payload.seconds * 10 - (end - time.monotonic()) * 10), int(payload.seconds * 10))
        time.sleep(0.05)
    _trace(payload, context, "end")


@task("probe.nap", payload=Probe, retry=QUICK)
def nap(payload: Probe, context: JobContext) -> None:
    """Take a while without a word to the database."""
    _trace(payload, context, "begin")
    time.sleep(payload.seconds)
    _trace(payload, context, "end")


@task("probe.fail", payload=Probe, retry=QUICK, time_limit_seconds=3)
def fail(payload: Probe, context: JobContext) -> str:
    """Fail in the way asked for in the first ``failures`` attempts, then succeed."""
    _trace(payload, context, "run")
    if context.attempt > payload.failures:
        return "done"
    match payload.how:
        case "raise":
            raise ValueError("asked to fail")
        case "permanent":
            raise PermanentError("asked to fail for good")
        case "later":
            raise RetryLater("asked to come back", delay_seconds=0.1)
        case "exit":
            raise SystemExit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "memory":
            raise MemoryError("asked to run out of memory")
        case "os-exit":
            os._exit(1)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            while True:
                try:
                    time.sleep(60)
                except Exception:  # the soft limit is ignored, so that the hard one must end this
                    continue
        case "unpicklable":
            raise type("Odd", (Exception,), {"__reduce__": lambda self: 1 / 0})("asked to raise what can not travel")
    raise AssertionError(payload.how)


@task("probe.poison", payload=Probe, retry=RetryPolicy(max_attempts=9, base_seconds=0.1, cap_seconds=0.2))
def poison(payload: Probe, context: JobContext) -> None:
    """Kill the process that runs it, each time."""
    context.log.warning("this is the end")
    os.kill(os.getpid(), signal.SIGKILL)


@task("probe.offspring", payload=Probe, retry=QUICK)
def offspring(payload: Probe, context: JobContext) -> None:
    """Start a process that writes a line ten times a second, and wait for it."""
    subprocess.run(["sh", "-c", 'while :; do echo line >> "$0"; sleep 0.1; done', payload.trace], check=True)


@control_command()
def deafen(state: Any) -> None:
    """Make a worker look alive and consume nothing: the broker no longer counts it as a consumer."""
    consumer = state.consumer.task_consumer
    state.consumer._consume_anew = lambda: None  # else it is heard of again when its window changes
    for tag in list(consumer._active_tags.values()):
        consumer.channel.basic_cancel(tag)


class Secret(BaseModel):
    text: str = ""
    password: str = ""


@task("probe.secret", payload=Secret, retry=QUICK)
def tell_secret(payload: Secret, context: JobContext) -> str:
    """Return all that it was given."""
    return f"{payload.text} {payload.password}"


@task("probe.overreach", payload=Probe, retry=QUICK, time_limit_seconds=3)
def overreach(payload: Probe, context: JobContext) -> str:
    """Do what ``how`` names, which is more than a rehearsal allows, or what it has to tell of."""
    match payload.how:
        case "enqueue":
            enqueue("probe.echo", {"text": "later"}, delay_seconds=60)
            enqueue_many("probe.echo", [{"text": str(number)} for number in range(2)])
            thread = Thread(target=enqueue, args=["probe.nap"])  # by way of the shared commit
            thread.start()
            thread.join()
        case "connect":
            socket.create_connection(("127.0.0.1", int(payload.text)), timeout=1)
        case "swallow":
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", int(payload.text)), timeout=1)
        case "write":
            Path(payload.text).write_text("overwritten")
        case "delete":
            Path(payload.text).unlink()
        case "program":
            subprocess.run(["true"], check=True)
        case "files":
            default_storage.delete(payload.text)
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "scratch").write_text("scratch")
            return default_storage.save(payload.text, ContentFile(b"new"))
        case "conflict":
            for _ in range(2):
                with suppress(IntegrityError):
                    User.objects.create(username="rehearsed")
            with suppress(ZeroDivisionError), transaction.atomic():
                User.objects.create(username="undone")
                _ = 1 / 0
            transaction.on_commit(lambda: Path(payload.text).write_text("committed"))
            with transaction.atomic(durable=True):
                return str(User.objects.filter(username__in=["rehearsed", "undone"]).count())
        case "rows":
            names = [f"rehearsed-{number}" for number in range(3)]
            users = User.objects.bulk_create([User(username=names[0]), User(username=names[1])])
            User.objects.create(username=names[2])
            User.objects.filter(username__in=names).update(first_name="Ann")
            users[0].delete()
            if payload.text == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        case "channel":
            if context.rehearsal:
                context.would_send("sms", ["+49 170 0000000"], "Your parcel is here")
                return "told"
            return "sent"
        case "noise":
            print("a word on the way out", flush=True)  # noqa: T201
            for number in range(1100):
                context.log.info("line %d", number)
    return "done"
