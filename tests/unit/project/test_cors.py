"""Pages of other origins: only those named, and without a query for what a browser asks beforehand."""

import subprocess
import sys

import pytest
from django.test import Client, override_settings

from project.env import Env

APP = "https://app.example.com"
ASKS = {
    "Origin": APP,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, prefer, last-event-id",
}


@pytest.fixture
def client(settings) -> Client:
    settings.MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", *settings.MIDDLEWARE]
    settings.CORS_ALLOWED_ORIGINS = [APP]
    return Client()


def test_a_browser_may_ask_beforehand_and_no_database_is_asked(client):  # without django_db a query fails
    answer = client.options("/api/v1/jobs", headers=ASKS)
    assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (200, APP)
    assert "POST" in answer["Access-Control-Allow-Methods"]
    wanted = set(ASKS["Access-Control-Request-Headers"].split(", "))
    assert wanted <= set(answer["Access-Control-Allow-Headers"].split(", "))
    assert "Access-Control-Allow-Credentials" not in answer


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.com.evil.example", "null"])
def test_another_origin_is_allowed_nothing(client, origin):
    answer = client.options("/api/v1/jobs", headers=ASKS | {"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer


def test_a_page_may_read_what_our_headers_tell_and_our_problems_too(client):
    answer = client.get("/api/v1/nothing", headers={"Origin": APP})
    assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (404, APP)
    exposed = set(answer["Access-Control-Expose-Headers"].split(", "))
    assert {"Location", "Retry-After", "ETag", "RateLimit", "Link", "Preference-Applied"} <= exposed


def test_only_the_api_is_for_pages_of_others(client):
    assert "Access-Control-Allow-Origin" not in client.get("/health/live", headers={"Origin": APP})


def test_the_session_is_shared_only_where_that_was_configured(client):
    with override_settings(CORS_ALLOW_CREDENTIALS=True):
        assert client.options("/api/v1/jobs", headers=ASKS)["Access-Control-Allow-Credentials"] == "true"


def test_nobody_pays_for_it_who_names_no_origin(settings):
    assert "corsheaders.middleware.CorsMiddleware" not in settings.MIDDLEWARE


def test_naming_an_origin_turns_it_on(tmp_path):
    script = (
        "import django; django.setup(); from django.test import Client; "
        "print(Client().options('/api/v1/jobs', headers={'Origin': 'https://a.example', "
        "'Access-Control-Request-Method': 'GET'})['Access-Control-Allow-Origin'])"
    )
    environment = {
        "SECRET_KEY": "test-secret", "DATABASE_URL": "sqlite://:memory:", "BROKER_URL": "memory://",
        "CORS_ALLOWED_ORIGINS": "https://a.example", "ALLOWED_HOSTS": "testserver",
        "DJANGO_SETTINGS_MODULE": "project.settings",
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "https://a.example"


@pytest.mark.parametrize("text", ["app.example.com", "https://app.example.com/", "*", "https://", "ftp://a.example"])
def test_what_is_no_origin_stops_the_start(monkeypatch, text):
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", text)
    with pytest.raises(ValueError, match=r"(?i)cors_allowed_origins"):
        Env()
