"""ASGI entry: every address, and streams that stay open (streams.py)."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup(set_prefix=False)

from project.streams import StreamingHandler  # noqa: E402  its imports want the apps loaded

application = StreamingHandler()
