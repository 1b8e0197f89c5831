"""Start-up: every app's tasks.py is imported, so web and worker processes share one registry."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class TasksConfig(AppConfig):
    name = "tasks"
    verbose_name = "Platform"

    def ready(self) -> None:
        from celery import current_app

        from tasks import brokers
        from tasks.worker import execution

        autodiscover_modules("tasks")
        current_app.conf.task_queues = brokers.celery_queues()
        execution.register(current_app)
