"""Who goes past what browsers need."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db
BEARER = {"Authorization": "Bearer wrong"}


def test_a_bearer_of_a_token_gets_nothing_that_is_for_browsers(client: Client):
    response = client.get("/api/v1/jobs/0", headers=BEARER)
    assert "Referrer-Policy" not in response.headers
    assert not hasattr(response.wsgi_request, "user")


@pytest.mark.parametrize(("address", "headers"), [("/api/v1/openapi.json", {}), ("/admin/", {}), ("/admin/", BEARER)])
def test_everybody_else_gets_all_of_it(client: Client, address: str, headers: dict[str, str]):
    response = client.get(address, headers=headers)
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert hasattr(response.wsgi_request, "user")
