"""The Celery application: `celery -A project worker|beat|flower` starts here."""

import os
import sys

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

# Named as text: they import models, and Django is not set up yet.
app = Celery(
    "project",
    task_cls="tasks.worker.execution:JobTask",
    control="tasks.worker.mailbox:Control",
    events="tasks.worker.events:Events",
)
app.steps["worker"].add("tasks.worker.steps:SideThreads")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize  # stock closes the database connection before and after each task

if "flower" in sys.argv:
    from project import env, flower

    flower.guard_flower(sys.argv, os.environ, env.load().flower_basic_auth.get_secret_value())
