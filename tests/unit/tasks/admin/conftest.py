from collections.abc import Iterator
from datetime import date, datetime
from enum import Enum
from typing import Any, Literal

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.test import Client
from pydantic import BaseModel, EmailStr, Field, model_validator

from tasks.api import RetryPolicy, StoredFile, task
from tasks.registry import registry


class Color(Enum):
    """Not for operators."""

    RED = "red"
    DARK_BLUE = "dark_blue"


class Point(BaseModel):
    x: int
    y: int = 0


class Everything(BaseModel):
    """One field of each kind."""

    line: str = Field(title="HTTP address", description="Where <it> is.")
    text: str = ""
    count: int = Field(3, ge=1, le=9)
    ratio: float = 0.5
    is_loud: bool = False
    day: date | None = None
    moment: datetime | None = None
    size: Literal["small", "very_large"] = "small"
    color: Color = Color.RED
    formats: list[Literal["pdf", "csv", "xlsx"]] = ["pdf"]
    to: list[EmailStr] = []
    tags: list[str] | None = None
    maybe: int | None = None
    point: Point | None = None
    extra: dict[str, Any] = {}

    @model_validator(mode="after")
    def _not_too_much(self) -> "Everything":
        if self.count == 9 and self.is_loud:
            raise ValueError("nine and loud is too much")
        return self


class Upload(BaseModel):
    source: StoredFile = Field(title="Picture")
    width_px: int = Field(ge=1)


class Plain(BaseModel):
    text: str = ""


@pytest.fixture(autouse=True)
def kinds_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of the tests' own, gone again after each."""
    monkeypatch.setattr(registry, "_specs", dict(registry._specs))
    known: list[tuple[str, type[BaseModel], str]] = [
        ("case.everything", Everything, "Everything"),
        ("case.upload", Upload, "Upload"),
        ("case.plain", Plain, "Plain work"),
    ]
    for name, payload, title in known:

        @task(name, payload=payload, title=title, retry=RetryPolicy(max_attempts=5))
        def work(payload: BaseModel, context: object) -> None:
            """Do it & be done."""


@pytest.fixture(autouse=True)
def console(settings: Any, outbox: Any) -> Iterator[None]:
    """No collected static files, uploads in memory, nothing remembered of the test before."""
    settings.STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()
    yield
    cache.clear()


def staff(name: str, *permissions: str) -> Client:
    """A browser of a staff user with these permissions ("tasks.view_job")."""
    user = User.objects.create_user(name, password="x", is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer(db: None) -> Client:
    """Someone who may look at everything of the platform and do nothing."""
    return staff("viewer", "tasks.view_job", "tasks.view_deadletter", "tasks.view_workerprocess", "tasks.view_apitoken")
