"""Wiring: the one package that knows every app."""

from project.celery import app as celery_app

__all__ = ["celery_app"]
