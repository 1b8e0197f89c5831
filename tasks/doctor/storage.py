"""Beside the database: the disk that keeps files, and Redis."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from django.conf import settings

from tasks.doctor.check import Check, Finding, in_one_line

LEAST_FREE_BYTES = 2**30
TIMEOUT_SECONDS = 3


def uploads(*, disk_usage: Callable[[Path], Any] = shutil.disk_usage) -> Iterator[Finding]:
    """Room for uploads and for what jobs make. Files that are kept elsewhere are not this disk's business."""
    if not settings.STORAGES["default"]["BACKEND"].endswith("FileSystemStorage"):
        return
    folder = Path(settings.MEDIA_ROOT)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        yield Finding(
            f"{existing} can not be written by this user: uploads and files made by jobs fail",
            "Give the directory to the user that runs the platform.",
        )
    free = disk_usage(existing).free
    least = max(LEAST_FREE_BYTES, 2 * settings.TASKS_MAX_UPLOAD_BYTES)
    if free < least:
        yield Finding(
            f"the disk of {folder} has {free / 2**20:,.0f} MiB free, less than {least / 2**20:,.0f}",
            "Make room, or mount a larger disk there.",
        )


def cache() -> Iterator[Finding]:
    """Redis, where it is configured. Without an answer, pages that use the cache fail or wait."""
    configured = settings.CACHES["default"]
    if not configured["BACKEND"].endswith("RedisCache"):
        return
    try:
        with redis.Redis.from_url(
            configured["LOCATION"], socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        ) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        yield Finding(
            f"Redis does not answer: {in_one_line(error)}",
            "Start it, correct REDIS_URL, or unset REDIS_URL: everything works without it, slower.",
        )


CHECKS = (
    Check("uploads", "there is room, and it can be written", uploads),
    Check("redis", "Redis answers, or is not used", cache),
)
