"""SMS_URLS and PUSH_URLS, asked by `manage.py check` and the doctor."""

import pytest
from django.core.checks import run_checks

from tasks.doctor import deployment


def found() -> list[str]:
    return [str(message.msg) for message in run_checks() if message.id == "notifications.E001"]


@pytest.mark.parametrize(
    "url",
    ["file://", "json://127.0.0.1:9/", f"pover://{'u' * 30}@{'a' * 30}", f"tgram://123456789:{'A' * 35}",
     f"twilio://AC{'0' * 32}:{'f' * 32}@12025550143", "ntfys://ntfy.sh"],
)  # fmt: skip
def test_an_address_without_recipients_is_no_fault(settings, url):
    settings.SMS_URLS = settings.PUSH_URLS = [url]
    assert found() == []


def test_an_address_that_means_nothing_is_found_by_its_place_and_its_keys_are_not_shown(settings, logged):
    settings.SMS_URLS, settings.PUSH_URLS = ["file://", "nosuch://s3cretkey"], ["twilio://bad:s3cretkey@12"]
    assert found() == [
        "address 2 of SMS_URLS means nothing to Apprise",
        "address 1 of PUSH_URLS means nothing to Apprise",
    ]
    said = " ".join(f"{finding.what} {finding.remedy}" for finding in deployment.system_checks())
    assert "notifications.E001: address 2 of SMS_URLS" in said
    assert "s3cretkey" not in said + " ".join(logged)
