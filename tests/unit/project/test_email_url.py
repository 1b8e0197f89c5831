from pathlib import Path

import pytest

from project.email_url import email_settings

OUTBOX = Path("outbox")


@pytest.mark.parametrize(
    ("url", "port", "starttls", "tls"),
    [
        ("smtp://mail.example", 25, False, False),
        ("smtp+tls://mail.example", 587, True, False),
        ("smtps://mail.example", 465, False, True),
        ("smtps://mail.example:2465", 2465, False, True),
    ],
)
def test_the_scheme_says_how_the_mail_is_protected(url, port, starttls, tls):
    found = email_settings(url, outbox=OUTBOX)
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == ("mail.example", port)
    assert (found["EMAIL_USE_TLS"], found["EMAIL_USE_SSL"]) == (starttls, tls)


def test_login_may_hold_any_character():
    found = email_settings("smtp+tls://ada%40example.com:p%2Fw%3A@mail.example", outbox=OUTBOX)
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("ada@example.com", "p/w:")


@pytest.mark.parametrize("scheme", ["file", "console", "memory"])
def test_mail_can_stay_here(scheme):
    found = email_settings(f"{scheme}://", outbox=OUTBOX)
    assert __import__("importlib").import_module(found["EMAIL_BACKEND"].rpartition(".")[0])
    assert found["EMAIL_FILE_PATH"] == "outbox"
