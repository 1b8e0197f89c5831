"""The plain Django project: named like ours, so that compose/django/start serves it with the very same command."""
