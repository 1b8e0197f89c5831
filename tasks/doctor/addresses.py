"""Where the servers are, with which logins, and whether what is said on the way can be read."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from urllib.parse import parse_qs, unquote, urlsplit

from django.conf import ENVIRONMENT_VARIABLE, settings

from tasks.doctor.check import Check, Finding, Unknown
from tasks.doctor.hosts import Reach, reach

# What is tried first, by people and by programs; besides the login's own name.
WELL_KNOWN_PASSWORDS = frozenset(
    {
        "1234", "12345", "123456", "1234567", "12345678", "123456789", "1234567890", "admin",
        "administrator", "changeme", "change-me", "celery", "default", "demo", "django", "example",
        "flower", "guest", "letmein", "operator", "pass", "passw0rd", "password", "password1", "platform",
        "postgres", "postgresql", "qwerty", "rabbit", "rabbitmq", "redis", "root", "secret", "test", "user",
        "welcome",
    }
)  # fmt: skip
_TLS_SCHEMES = {"amqps", "https", "rediss"}


@dataclass(frozen=True)
class Address:
    """One server that a setting names. ``secure``: the connection is encrypted or not made."""

    variable: str
    host: str
    secure: bool
    user: str = ""
    password: str = field(default="", repr=False)


def addresses() -> list[Address]:
    """Every server that the settings name, with its login."""
    return [*_brokers(), *_databases(), *_redis(), *_mail(), *_flower()]


def passwords(known: Iterable[Address] | None = None) -> Iterator[Finding]:
    """Logins that anybody would try."""
    found = {address.variable for address in known or addresses() if _is_well_known(address.user, address.password)}
    if settings.TASKS_OPERATOR_PASSWORD and _is_well_known(
        settings.TASKS_OPERATOR_NAME, settings.TASKS_OPERATOR_PASSWORD
    ):
        found.add("OPERATOR_PASSWORD")
    for variable in sorted(found):
        yield Finding(
            f"the password in {variable} is one that everybody tries first",
            "Give the server another (`openssl rand -hex 24` makes one that is safe in a URL), then the variable.",
        )


def redis_password(known: Iterable[Address] | None = None) -> Iterator[Finding]:
    """Redis asks nobody for a password until it is told to."""
    for address in known or addresses():
        if address.variable == "REDIS_URL" and not address.password and reach(address.host) is not Reach.LOOPBACK:
            yield Finding(
                f"REDIS_URL names no password, and {address.host} is another machine",
                "Set `requirepass` in redis.conf, and REDIS_URL=redis://:PASSWORD@host:6379/0.",
            )


def cleartext(known: Iterable[Address] | None = None) -> Iterator[Finding | Unknown]:
    """Logins and payloads that anybody on the way can read. A private network is taken for one that is trusted."""
    for address in known or addresses():
        if address.secure:
            continue
        where = reach(address.host)
        if where is Reach.PUBLIC:
            yield Finding(
                f"{address.variable} speaks to {address.host} without TLS, over public addresses",
                f"{_TLS_REMEDY.get(address.variable, 'Use TLS')}, or keep the server in a private network.",
            )
        elif where is Reach.UNKNOWN:
            yield Unknown(
                f"{address.variable} has no TLS, and {address.host} has no address: it may be private or not",
                "Run the doctor where the name is known.",
            )


_TLS_REMEDY = {
    "BROKER_URL": "Begin BROKER_URL with amqps://",
    "RABBITMQ_API_URL": "Begin RABBITMQ_API_URL with https://",
    "DATABASE_URL": "End DATABASE_URL with ?sslmode=verify-full (the default falls back to cleartext)",
    "REDIS_URL": "Begin REDIS_URL with rediss://",
    "EMAIL_URL": "Begin EMAIL_URL with smtp+tls:// or smtps://",
}


def _is_well_known(user: str, password: str) -> bool:
    return bool(password) and (password.lower() in WELL_KNOWN_PASSWORDS or password.lower() == user.lower())


def _brokers() -> Iterator[Address]:
    for url in settings.CELERY_BROKER_URL.split(";"):
        if url.startswith("amqp"):
            address = _of_url("BROKER_URL", url)
            # kombu's own defaults, where the URL is silent
            yield Address(
                address.variable, address.host, address.secure, address.user or "guest", address.password or "guest"
            )
    yield from (_of_url("RABBITMQ_API_URL", url) for url in settings.TASKS_RABBITMQ_API_URL.split(";") if url)


def _databases() -> Iterator[Address]:
    for alias, database in settings.DATABASES.items():
        if database["ENGINE"].endswith("postgresql"):
            secure = database.get("OPTIONS", {}).get("sslmode") in ("require", "verify-ca", "verify-full")
            yield Address(
                "DATABASE_URL" if alias == "default" else f"DATABASES[{alias!r}]",
                database.get("HOST") or "",
                secure,
                database.get("USER") or "",
                database.get("PASSWORD") or "",
            )


def _redis() -> Iterator[Address]:
    cache = settings.CACHES["default"]
    if cache["BACKEND"].endswith("RedisCache"):
        yield _of_url("REDIS_URL", cache["LOCATION"])


def _mail() -> Iterator[Address]:
    if settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        secure = settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL
        yield Address("EMAIL_URL", settings.EMAIL_HOST, secure, settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD)


def _flower() -> Iterator[Address]:
    """Flower's login is no Django setting: only the typed environment, of which the settings are made, has it."""
    environment = import_module(os.environ[ENVIRONMENT_VARIABLE]).env
    for login in environment.flower_basic_auth.get_secret_value().split(","):
        user, _, password = login.partition(":")
        yield Address("FLOWER_BASIC_AUTH", "", True, user, password)


def _of_url(variable: str, url: str) -> Address:
    parts = urlsplit(url)
    password = unquote(parts.password or "") or parse_qs(parts.query).get("password", [""])[0]
    host = "" if parts.scheme == "unix" else parts.hostname or ""
    return Address(variable, host, parts.scheme in _TLS_SCHEMES, unquote(parts.username or ""), password)


CHECKS = (
    Check("passwords", "no login in the settings has a password that everybody tries", passwords),
    Check("redis-password", "Redis asks for a password, or is on this machine", redis_password),
    Check("cleartext", "no login travels in cleartext over public addresses", cleartext),
)
