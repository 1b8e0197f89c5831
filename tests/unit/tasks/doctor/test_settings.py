"""Django's and Celery's settings, addresses and limits: nothing here asks anybody."""

import socket
from types import SimpleNamespace

import pytest
from celery import current_app
from django.core.checks import Error
from pydantic import SecretStr

from tasks.doctor import addresses, deployment, hosts, limits
from tasks.doctor.addresses import Address
from tasks.doctor.celery_settings import celery_settings
from tasks.doctor.hosts import Reach, reach
from tests.unit.tasks.doctor.said import findings, unknowns

GOOD_KEY = "0a4f1e9d8c7b6a5f4e3d2c1b0a9f8e7d6c5b4a3f2e1d0c9b"


@pytest.fixture
def conf(monkeypatch):
    """Sets what Celery is configured with, for the test."""

    def put(name, value):
        monkeypatch.setitem(current_app.conf.changes, name, value)

    return put


@pytest.fixture
def names(monkeypatch):
    """What name servers say: {"name": "address"}; no other name has one."""
    known: dict[str, str] = {}

    def resolve(name, port):
        if name not in known:
            raise socket.gaierror
        return [(socket.AF_INET, 0, 0, "", (known[name], 0))]

    monkeypatch.setattr(hosts.reach, "__kwdefaults__", {"resolve": resolve})
    return known


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", Reach.LOOPBACK),
        ("127.0.0.1", Reach.LOOPBACK),
        ("[::1]", Reach.LOOPBACK),
        ("", Reach.LOOPBACK),
        ("/var/run/postgresql", Reach.LOOPBACK),
        ("10.1.2.3", Reach.PRIVATE),
        ("172.20.0.4", Reach.PRIVATE),
        ("100.64.1.1", Reach.PRIVATE),
        ("rabbitmq", Reach.PRIVATE),
        ("broker.default.svc.cluster.local", Reach.PRIVATE),
        ("8.8.8.8", Reach.PUBLIC),
        ("broker.example.com", Reach.PUBLIC),
        ("broker.cloud.example", Reach.PRIVATE),
        ("nowhere.example.com", Reach.UNKNOWN),
    ],
)
def test_how_far_a_host_is(host, expected, names):
    names |= {"broker.example.com": "93.184.215.14", "broker.cloud.example": "10.0.0.9"}
    assert reach(host) is expected


@pytest.mark.parametrize("allowed", [["localhost"], ["tasks.example.com"]])
def test_debug_is_found_wherever_the_site_is(settings, allowed):
    settings.DEBUG, settings.ALLOWED_HOSTS = True, allowed
    (what,) = findings(deployment.debug())
    assert ("tasks.example.com" in what) is (allowed != ["localhost"])
    settings.DEBUG = False
    assert findings(deployment.debug()) == []


@pytest.mark.parametrize("name", ["WEBHOOK_ALLOW_HTTP", "WEBHOOK_ALLOW_PRIVATE"])
def test_webhooks_to_anywhere_are_found_where_others_reach_the_site(settings, name):
    settings.ALLOWED_HOSTS = ["tasks.example.com"]
    assert findings(deployment.webhooks()) == []
    setattr(settings, f"TASKS_{name}", True)
    assert findings(deployment.webhooks())[0].count(name) == 1
    settings.ALLOWED_HOSTS = ["localhost"]
    assert findings(deployment.webhooks()) == []


def test_any_host_is_found(settings):
    settings.ALLOWED_HOSTS = ["*"]
    assert len(findings(deployment.allowed_hosts())) == 1
    settings.ALLOWED_HOSTS = ["tasks.example.com"]
    assert findings(deployment.allowed_hosts()) == []


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (GOOD_KEY, False),
        ("short", True),
        ("a" * 48, True),
        (f"django-insecure-{GOOD_KEY}", True),
        ("changeme" + GOOD_KEY, True),
    ],
)
def test_a_secret_key_that_can_be_guessed_is_found_and_not_shown(settings, key, found):
    settings.SECRET_KEY = key
    said = findings(deployment.secret_key())
    assert bool(said) is found
    assert not any(key in what for what in said)


def test_cookies_over_http_are_found_on_public_hosts_only(settings, names):
    names["tasks.example.com"], names["tasks.corp.example"] = "93.184.215.14", "10.0.0.1"
    settings.SESSION_COOKIE_SECURE = False
    settings.ALLOWED_HOSTS = ["localhost", "tasks.corp.example"]
    assert findings(deployment.session_cookies()) == []
    settings.ALLOWED_HOSTS = ["nowhere.example.com"]
    assert len(unknowns(deployment.session_cookies())) == 1
    settings.ALLOWED_HOSTS = ["tasks.example.com"]
    assert len(findings(deployment.session_cookies())) == 1
    settings.SESSION_COOKIE_SECURE = True
    assert findings(deployment.session_cookies()) == []


def test_mail_that_goes_to_files_is_found_off_loopback(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
    assert findings(deployment.mail()) == []
    settings.ALLOWED_HOSTS = ["tasks.example.com"]
    assert len(findings(deployment.mail())) == 1
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    assert findings(deployment.mail()) == []


def test_errors_of_djangos_own_checks_are_found(monkeypatch):
    assert findings(deployment.system_checks()) == []
    monkeypatch.setattr(deployment.checks, "run_checks", lambda: [Error("broken", hint="mend", id="x.E001")])
    assert findings(deployment.system_checks()) == ["x.E001: broken"]


@pytest.mark.parametrize(
    ("user", "password", "found"),
    [
        ("guest", "guest", True),
        ("me", "GUEST", True),
        ("alice", "alice", True),
        ("me", GOOD_KEY, False),
        ("me", "", False),
    ],
)
def test_a_password_that_everybody_tries_is_found_and_not_shown(user, password, found):
    said = findings(addresses.passwords([Address("BROKER_URL", "h", True, user, password)]))
    assert said == ["the password in BROKER_URL is one that everybody tries first"] * found


def test_the_operators_own_password_is_tried(settings):
    settings.TASKS_OPERATOR_PASSWORD = "changeme"
    assert len(findings(addresses.passwords([Address("BROKER_URL", "h", True)]))) == 1


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("CELERY_BROKER_URL", "amqp://broker//", ("BROKER_URL", "broker", False, "guest", "guest")),
        ("CELERY_BROKER_URL", "amqps://me:p%40ss@broker//", ("BROKER_URL", "broker", True, "me", "p@ss")),
        ("TASKS_RABBITMQ_API_URL", "http://a:b@h:1/api/", ("RABBITMQ_API_URL", "h", False, "a", "b")),
        (
            "CACHES",
            {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "rediss://:pw@h/0"}},
            ("REDIS_URL", "h", True, "", "pw"),
        ),
    ],
)
def test_where_logins_are_read_from(settings, variable, value, expected):
    setattr(settings, variable, value)
    assert Address(*expected) in addresses.addresses()


def test_flowers_logins_are_read_from_the_environment(monkeypatch):
    environment = SimpleNamespace(flower_basic_auth=SecretStr("ada:long-and-safe,bob:flower"))
    monkeypatch.setattr("project.settings.env", environment)
    assert Address("FLOWER_BASIC_AUTH", "", True, "ada", "long-and-safe") in addresses.addresses()
    assert findings(addresses.passwords()) == ["the password in FLOWER_BASIC_AUTH is one that everybody tries first"]


def test_each_node_of_a_cluster_is_an_address(settings):
    settings.CELERY_BROKER_URL = "amqp://me:pw@one//;amqp://guest:guest@two//"
    assert {address.host for address in addresses.addresses()} >= {"one", "two"}
    assert findings(addresses.passwords()) == ["the password in BROKER_URL is one that everybody tries first"]


def test_the_database_and_the_mail_server_are_addresses(settings):
    database = {"ENGINE": "django.db.backends.postgresql", "HOST": "db", "USER": "me", "PASSWORD": "pw"}
    with pytest.warns(UserWarning, match="DATABASES"):
        settings.DATABASES = {
            "default": {**database, "OPTIONS": {"sslmode": "prefer"}},
            "replica": {**database, "OPTIONS": {"sslmode": "verify-full"}},
        }
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_USE_TLS = "smtp.example.com", True
    found = addresses.addresses()
    assert Address("DATABASE_URL", "db", False, "me", "pw") in found
    assert Address("DATABASES['replica']", "db", True, "me", "pw") in found
    assert Address("EMAIL_URL", "smtp.example.com", True) in found


def test_an_address_does_not_show_its_password():
    assert GOOD_KEY not in repr(Address("BROKER_URL", "h", True, "me", GOOD_KEY))


@pytest.mark.parametrize(
    ("host", "password", "found"),
    [("127.0.0.1", "", 0), ("redis", "", 1), ("redis", "pw", 0), ("10.0.0.1", "", 1)],
)
def test_redis_off_loopback_wants_a_password(host, password, found):
    assert len(findings(addresses.redis_password([Address("REDIS_URL", host, False, "", password)]))) == found


def test_cleartext_is_found_over_public_addresses_only(names):
    names["broker.example.com"] = "93.184.215.14"

    def said(host, secure=False):
        return addresses.cleartext([Address("BROKER_URL", host, secure)])

    assert findings(said("127.0.0.1")) == findings(said("rabbitmq")) == []
    assert findings(said("broker.example.com", secure=True)) == []
    assert len(findings(said("broker.example.com"))) == 1
    assert len(unknowns(said("nowhere.example.com"))) == 1


def test_the_projects_celery_settings_are_safe():
    assert findings(celery_settings()) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("task_acks_late", False),
        ("task_reject_on_worker_lost", None),
        ("accept_content", ["json", "pickle"]),
        ("worker_consumer", "celery.worker.consumer:Consumer"),
        ("broker_connection_max_retries", 100),
        ("broker_heartbeat", 0),
        ("broker_transport_options", {"read_timeout": 10}),
    ],
)
def test_a_setting_that_breaks_a_promise_is_found(conf, setting, value):
    conf(setting, value)
    (what,) = findings(celery_settings())
    assert setting in what


def test_the_ack_timeout_must_outlast_the_longest_task(settings):
    settings.TASKS_BROKER_ACK_TIMEOUT_SECONDS = 660
    assert findings(limits.ack_timeout()) == []
    settings.TASKS_BROKER_ACK_TIMEOUT_SECONDS = 659
    (what,) = findings(limits.ack_timeout())
    assert "report.render may run for 600 s" in what


def test_the_longest_task_of_a_queue(settings):
    assert limits.longest_task(["email-queue"]).name == "email.send"
    assert limits.longest_task(["priority-queue"]).name == "report.render", "any task may come with priority"
    assert limits.longest_task(["request-queue"]) is None


@pytest.mark.parametrize(("multiplier", "found"), [(1, 0), (4, 1), (0, 1)])
def test_a_prefetch_above_one_is_found(conf, multiplier, found):
    conf("worker_prefetch_multiplier", multiplier)
    assert len(findings(limits.prefetch())) == found
