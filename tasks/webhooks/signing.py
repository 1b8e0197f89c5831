"""The secrets of an endpoint, and the headers that they make.

No secret is kept. Each is derived from SECRET_KEY and the random salt in the endpoint's row, so a copy of the database
alone signs nothing, and there is no cipher text to look after. The other side of it: a new SECRET_KEY needs the old one
in SECRET_KEY_FALLBACKS until the endpoints have been rotated. A fingerprint tells when it is missing.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from django.conf import settings
from django.utils import timezone
from django.utils.crypto import salted_hmac
from standardwebhooks.webhooks import Webhook

PREFIX = "whsec_"
MOST_SECRETS = 3
_PURPOSE = "tasks.webhooks.signing"


class Seed(TypedDict):
    """What a secret derives from. ``until`` is when it ends; null while it is the newest."""

    salt: str
    fingerprint: str
    until: str | None


class SecretLost(Exception):
    """No SECRET_KEY of this process makes the secret that the endpoint was given."""


def new_seed() -> tuple[Seed, str]:
    """A new secret of 256 bits: what to keep of it, and its text, which is kept nowhere."""
    salt = secrets.token_hex(16)
    key = _derive(salt, settings.SECRET_KEY)
    return {"salt": salt, "fingerprint": _fingerprint(key), "until": None}, _text(key)


def rotated(seeds: Sequence[Seed], new: Seed, *, keep: timedelta, now: datetime | None = None) -> list[Seed]:
    """``new`` before those of ``seeds`` that still hold. The newest of them holds for ``keep`` longer, older ones as
    long as they did, and no more than MOST_SECRETS in all: a header has room for only so many."""
    now = now or timezone.now()
    end = (now + keep).isoformat()
    kept: list[Seed] = [{**seed, "until": min(seed["until"] or end, end, key=datetime.fromisoformat)} for seed in seeds]
    return [new, *(seed for seed in kept if _holds(seed, now))][:MOST_SECRETS]


def headers(seeds: Sequence[Seed], message_id: str, body: str, *, now: datetime | None = None) -> dict[str, str]:
    """What goes with ``body``: a signature for each secret that holds, newest first, so that a receiver may change to
    the new one in its own time. Raises SecretLost."""
    now = now or timezone.now()
    signers = [Webhook(_secret(seed)) for seed in _holding(seeds, now)]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signer.sign(message_id, now, body) for signer in signers),
    }


def _holding(seeds: Sequence[Seed], now: datetime) -> Iterator[Seed]:
    return (seed for seed in seeds if _holds(seed, now))


def _holds(seed: Seed, now: datetime) -> bool:
    return seed["until"] is None or datetime.fromisoformat(seed["until"]) > now


def _secret(seed: Seed) -> bytes:
    for secret_key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        key = _derive(seed["salt"], secret_key)
        if _fingerprint(key) == seed["fingerprint"]:
            return key
    raise SecretLost("SECRET_KEY has changed since the secret was made: rotate the endpoint's secret")


def _derive(salt: str, secret_key: str | bytes) -> bytes:
    return salted_hmac(_PURPOSE, salt, secret=secret_key, algorithm="sha256").digest()


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:16]


def _text(key: bytes) -> str:
    return PREFIX + base64.b64encode(key).decode()
