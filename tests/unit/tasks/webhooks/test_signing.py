"""Secrets and signatures, checked by hand and by somebody else's verifier."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tasks.webhooks import signing

NOW = timezone.now()
BODY = '{"type":"job.dead","text":"Grüße"}'


def test_a_secret_is_256_random_bits_and_not_in_what_is_kept():
    (seed, secret), (_, other) = signing.new_seed(), signing.new_seed()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret != other
    assert secret.removeprefix("whsec_") not in json.dumps(seed)


def test_the_signature_is_the_hmac_of_id_time_and_body():
    seed, secret = signing.new_seed()
    headers = signing.headers([seed], "msg_1", BODY, now=NOW)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"msg_1.{int(NOW.timestamp())}.{BODY}".encode()
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": f"v1,{expected}",
    }


def test_after_a_rotation_both_secrets_verify_and_then_the_new_one_alone():
    old, old_secret = signing.new_seed()
    new, new_secret = signing.new_seed()
    now = timezone.now()  # not the module's: a verifier takes no message that is older than five minutes
    seeds = signing.rotated([old], new, keep=timedelta(hours=1), now=now)
    headers = signing.headers(seeds, "msg_1", BODY, now=now)
    for secret in (old_secret, new_secret):
        Webhook(secret).verify(BODY, headers)
    later = signing.headers(seeds, "msg_1", BODY, now=now + timedelta(hours=1))
    later |= {"webhook-timestamp": headers["webhook-timestamp"]}
    assert len(later["webhook-signature"].split()) == 1
    with pytest.raises(WebhookVerificationError):
        Webhook(old_secret).verify(BODY, later)


def test_a_body_that_was_changed_does_not_verify():
    seed, secret = signing.new_seed()
    headers = signing.headers([seed], "msg_1", BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + " ", headers)


def test_a_rotation_may_end_the_old_secret_at_once():
    old, new = signing.new_seed()[0], signing.new_seed()[0]
    assert signing.rotated([old], new, keep=timedelta(), now=NOW) == [new]


def test_rotations_in_a_row_keep_few_secrets_and_prolong_none():
    seeds = [signing.new_seed()[0]]
    for hour in range(5):
        at = NOW + timedelta(minutes=hour)
        seeds = signing.rotated(seeds, signing.new_seed()[0], keep=timedelta(hours=1), now=at)
    assert len(seeds) == signing.MOST_SECRETS
    ends = [seed["until"] for seed in seeds]
    assert ends == [
        None,
        (NOW + timedelta(hours=1, minutes=4)).isoformat(),
        (NOW + timedelta(hours=1, minutes=3)).isoformat(),
    ]


def test_a_new_secret_key_needs_the_old_one_among_its_fallbacks(settings):
    seed, secret = signing.new_seed()
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    Webhook(secret).verify(BODY, signing.headers([seed], "msg_1", BODY))
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(signing.SecretLost, match="rotate"):
        signing.headers([seed], "msg_1", BODY)
