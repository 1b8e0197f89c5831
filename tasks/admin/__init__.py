"""The operators' console: thin doors over the platform's services, on django-unfold.

Who may do what is decided here (permissions of Django), what can be done in the services.
"""

from django.contrib import admin

from tasks.admin import (
    attempts,
    audit,
    batches,
    dashboard,
    dead_letters,
    jobs,
    people,
    requests,
    tokens,
    webhooks,
    workers,
)

__all__ = [
    "attempts",
    "audit",
    "batches",
    "dashboard",
    "dead_letters",
    "jobs",
    "people",
    "requests",
    "tokens",
    "webhooks",
    "workers",
]

attempts.register()
people.register()

# Not by overriding admin/index.html: unfold stands before this app, and its template would be found first.
admin.site.index_title = "Dashboard"
admin.site.index_template = "tasks/admin/dashboard.html"
