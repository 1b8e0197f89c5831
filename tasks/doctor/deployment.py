"""Django's own settings, where a laptop's choice is unsafe in production."""

from collections.abc import Iterator

from django.conf import settings
from django.core import checks

from tasks.doctor.check import Check, Finding, Unknown
from tasks.doctor.hosts import Reach, is_loopback, reach

SECRET_KEY_CHARACTERS = 32
_GUESSABLE = ("insecure", "changeme", "change-me", "secret", "example", "password")
_MAIL_TO_NOBODY = ("filebased", "console", "locmem", "dummy")


def debug() -> Iterator[Finding]:
    """A finding even on a laptop: `make up` runs without it, and no setting says where a proxy shows this site."""
    if settings.DEBUG:
        hosts = _hosts_off_loopback()
        what = f"and the site answers to {', '.join(hosts)}" if hosts else "though for loopback only"
        yield Finding(
            f"DEBUG is on, {what}: error pages show settings and source, and every process keeps its SQL in memory",
            "Unset DEBUG.",
        )


def allowed_hosts() -> Iterator[Finding]:
    if "*" in settings.ALLOWED_HOSTS:
        yield Finding(
            "ALLOWED_HOSTS is *: the site believes any Host header, and builds links from it",
            "Name the site's hosts: ALLOWED_HOSTS=tasks.example.com.",
        )


def secret_key() -> Iterator[Finding]:
    """Whoever guesses it signs sessions of any user."""
    key = settings.SECRET_KEY
    reasons = [
        reason
        for reason, is_so in (
            (f"has fewer than {SECRET_KEY_CHARACTERS} characters", len(key) < SECRET_KEY_CHARACTERS),
            ("has hardly any different characters", len(set(key)) < 8),
            ("holds a word that says it is no secret", any(word in key.lower() for word in _GUESSABLE)),
        )
        if is_so
    ]
    if reasons:
        yield Finding(
            f"SECRET_KEY {' and '.join(reasons)}: who guesses it is logged in as anybody",
            "Set SECRET_KEY to what `openssl rand -hex 24` prints. Sessions end, and webhook secrets with them.",
        )


def session_cookies() -> Iterator[Finding | Unknown]:
    if settings.SESSION_COOKIE_SECURE:
        return
    for host in _hosts_off_loopback():
        where = Reach.PUBLIC if host == "*" else reach(host.lstrip("."))
        if where is Reach.PUBLIC:
            yield Finding(
                f"the site answers to {host}, and its session cookies travel over plain http too",
                "End TLS in a proxy that sets X-Forwarded-Proto, and set BEHIND_TLS_PROXY=true.",
            )
        elif where is Reach.UNKNOWN:
            yield Unknown(
                f"session cookies travel over plain http, and {host} has no address: it may be private or not",
                "Run the doctor where the name is known, or set BEHIND_TLS_PROXY=true.",
            )


def mail() -> Iterator[Finding]:
    kind = settings.EMAIL_BACKEND.rsplit(".", 2)[-2]
    hosts = _hosts_off_loopback()
    if kind in _MAIL_TO_NOBODY and hosts:
        yield Finding(
            f"the site answers to {', '.join(hosts)}, and its e-mail is sent to nobody (backend {kind})",
            "Set EMAIL_URL=smtp+tls://user:password@host:587.",
        )


def webhooks() -> Iterator[Finding]:
    """Whoever may add an endpoint chooses where a worker connects to."""
    allowed = {
        "WEBHOOK_ALLOW_HTTP": settings.TASKS_WEBHOOK_ALLOW_HTTP,
        "WEBHOOK_ALLOW_PRIVATE": settings.TASKS_WEBHOOK_ALLOW_PRIVATE,
    }
    hosts, names = _hosts_off_loopback(), [name for name, is_allowed in allowed.items() if is_allowed]
    if hosts and names:
        yield Finding(
            f"the site answers to {', '.join(hosts)}, and {' and '.join(names)} is set: whoever may add a webhook "
            "reaches what only this network should, or has messages sent in the clear",
            f"Unset {' and '.join(names)}.",
        )


def system_checks() -> Iterator[Finding]:
    """Django's, and those of every app. The command runs them as a check, since one that fails must not silence it."""
    for message in checks.run_checks():
        if message.is_serious() and not message.is_silenced():
            yield Finding(f"{message.id}: {message.msg}", message.hint or "See `manage.py check`.")


def _hosts_off_loopback() -> list[str]:
    return [host for host in settings.ALLOWED_HOSTS if not is_loopback(host.lstrip("."))]


CHECKS = (
    Check("debug", "DEBUG is off", debug),
    Check("allowed-hosts", "ALLOWED_HOSTS names the site's hosts", allowed_hosts),
    Check("secret-key", "SECRET_KEY is long, and no example", secret_key),
    Check("session-cookies", "session cookies are for https only, or the site is not public", session_cookies),
    Check("mail", "e-mail is sent, or the site is for this machine only", mail),
    Check("webhooks", "webhooks go to public addresses by https only, or the site is for this machine only", webhooks),
    Check("system-checks", "`manage.py check` has no error", system_checks),
)
