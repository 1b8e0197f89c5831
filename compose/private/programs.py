"""The platform's own processes: web, two workers, beat, Flower, and the steps before them."""

from collections.abc import Mapping
from pathlib import Path

from compose.private import ROOT
from compose.private.environment import VENV
from compose.private.ports import LOOPBACK
from compose.private.process import Process

# Short jobs and long ones apart, so that no one-time password waits behind a thousand-page report.
WORKERS = {
    "fast": "priority-queue,email-queue,sms-queue,push-queue,work-queue,request-queue",
    "heavy": "report-queue,image-queue",
}

STEPS = {
    "migrate": ("migrate", "--no-input"),
    "collectstatic": ("collectstatic", "--no-input"),
    "operator": ("ensure_operator",),
    "topology": ("topology", "apply"),
}


def steps(directory: Path, environment: Mapping[str, str]) -> list[Process]:
    """Commands to be run to their end, one after the other, before anything else starts."""
    return [
        Process(
            name, [VENV / "bin/python", "manage.py", *arguments], directory=directory, environment=environment, cwd=ROOT
        )
        for name, arguments in STEPS.items()
    ]


def programs(directory: Path, environment: Mapping[str, str]) -> list[Process]:
    """The processes that stay, in the order of their start. Secrets come by environment: `ps` shows a command line."""
    bind = f"{LOOPBACK}:{environment['PORT']}"
    gunicorn = ["gunicorn", "project.wsgi", "--bind", bind, "--workers", "2", "--threads", "8", "--no-control-socket"]
    celery = ["celery", "--quiet", "-A", "project"]
    commands = {"web": gunicorn}
    for name, queues in WORKERS.items():
        options = ["-n", f"{name}@%h", "-Q", queues, "--concurrency", "2", "--loglevel", "INFO"]
        commands[f"worker-{name}"] = [*celery, "worker", *options]
    commands["beat"] = [*celery, "beat", "--loglevel", "INFO"]
    commands["flower"] = [*celery, "flower", f"--address={LOOPBACK}"]
    return [
        Process(
            name,
            [VENV / "bin" / command[0], *command[1:]],
            directory=directory,
            environment=environment,
            cwd=ROOT,
            grace_seconds=30,  # a worker finishes the jobs it has begun
        )
        for name, command in commands.items()
    ]
