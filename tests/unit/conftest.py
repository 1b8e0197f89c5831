import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tasks.models import ApiToken


class Caller:
    """Somebody who calls the API with a token of their own."""

    def __init__(self, name: str, *scopes: str):
        self.token, text = ApiToken.issue(name, list(scopes))
        self.owner = f"token:{name}"
        self.client = Client(headers={"Authorization": f"Bearer {text}"})

    def get(self, address: str, **headers: str) -> Any:
        return self.client.get(address, headers=headers)

    def post(self, address: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content_type = named.pop("Content-Type", "application/json")
        data = body if isinstance(body, (str, bytes)) else "" if body is None else json.dumps(body)
        return self.client.post(address, data, content_type=content_type, headers=named)


@pytest.fixture
def caller(db) -> Callable[..., Caller]:
    """Makes a caller: ``caller(name, *scopes)``; with the scopes of an ordinary one where none is given."""
    ordinary = ("jobs:read", "jobs:write", "dead_letters:replay")
    return lambda name="t", *scopes: Caller(name, *(scopes or ordinary))


@pytest.fixture
def staff(db) -> Callable[..., Client]:
    """Makes the session of a staff user with the permissions: ``staff(*codenames)``."""

    def enter(*permissions: str, name: str = "ada") -> Client:
        user = User.objects.create_user(name, password="x", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return enter
