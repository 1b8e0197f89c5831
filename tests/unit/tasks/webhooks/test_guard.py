"""Nothing is sent to where it must not go, however its address is written."""

import threading
from ipaddress import ip_address

import pytest

from tasks.errors import TargetRefused
from tasks.webhooks import guard

PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]
PRIVATE = [
    *("10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "198.18.0.1", "fd00::1", "fec0::1"),
    *("::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:a00:1::", "2001:db8::1", "203.0.113.7"),
]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
NEVER = [
    *("169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"),
    *("0.0.0.0", "::", "224.0.0.1", "ff02::1", "192.0.0.8", "2001::1", "255.255.255.255", "240.0.0.1", "::127.0.0.1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address):
    assert guard.refusal(ip_address(address)) == ""


@pytest.mark.parametrize("address", [*PRIVATE, *LOOPBACK, *NEVER])
def test_any_other_address_is_refused(address):
    assert guard.refusal(ip_address(address))


@pytest.mark.parametrize("address", [*LOOPBACK, "10.0.0.1", "fd00::1", "::ffff:192.168.1.1"])
def test_private_addresses_may_be_allowed(settings, address):
    settings.TASKS_WEBHOOK_ALLOW_PRIVATE = True
    assert guard.refusal(ip_address(address)) == ""


@pytest.mark.parametrize("address", NEVER)
def test_what_is_never_a_receiver_stays_refused_where_private_ones_are_allowed(settings, address):
    settings.TASKS_WEBHOOK_ALLOW_PRIVATE = True
    assert guard.refusal(ip_address(address))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.com/", "begins with https://"),
        ("ftp://example.com/", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("example.com/hook", "begins with https://"),
        ("", "begins with https://"),
        ("https:///hook", "names no host"),
        ("https://ann:secret@example.com/", "a login"),
        ("https://127.0.0.1@example.com/", "a login"),
        ("https://example.com/#here", "fragment"),
        ("https://example.com:25/", "port 25"),
        ("https://example.com:80/", "port 80"),
        ("https://example.com:0/", "port 0"),
        ("https://example.com:99999/", "port 99999"),
        ("https://example.com\\@127.0.0.1/", "backslash"),
        ("https://example.com /", "a space"),
        ("https://example.com/\r\nHost: other", "control character"),
        ("https://0x7f.1/", "a number"),
        ("https://0x7f000001/", "a number"),
        ("https://2130706433/", "a number"),
        ("https://127.1/", "a number"),
        ("https://0177.0.0.1/", "can not be read"),
        ("https://127.0.0.1./", "a number"),
        ("https://example.0x1/", "a number"),
        ("https://[fe80::1%25eth0]/", ""),
        ("https://exa%6dple.com/", ""),
        ("https://[::1/", "can not be read"),
        ("https://" + "a" * 2000, "may have 2000"),
    ],
)
def test_an_address_that_is_not_a_plain_one_is_refused_and_told_why(url, says):
    with pytest.raises(TargetRefused) as refused:
        guard.check(url)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/hook?a=1", b"example.com"),
        ("https://EXAMPLE.com:8443/", b"example.com"),
        ("https://bücher.example/", b"xn--bcher-kva.example"),
        ("https://93.184.216.34:443/", b"93.184.216.34"),
        ("https://[2606:2800:220:1:248:1893:25c8:1946]/", b"2606:2800:220:1:248:1893:25c8:1946"),
    ],
)
def test_a_plain_address_is_taken(url, host):
    assert guard.check(url).raw_host == host


def test_unencrypted_addresses_may_be_allowed(settings):
    settings.TASKS_WEBHOOK_ALLOW_HTTP = True
    assert guard.check("http://example.com:80/").scheme == "http"


def test_a_name_that_leads_to_this_host_is_refused(names):
    names("127.0.0.1")
    with pytest.raises(TargetRefused, match=r"receiver\.example leads to 127\.0\.0\.1, this host itself"):
        guard.target("https://receiver.example/")


def test_one_forbidden_address_among_others_is_enough(names):
    names("93.184.216.34", "10.0.0.1")
    with pytest.raises(TargetRefused, match=r"10\.0\.0\.1, a private address"):
        guard.target("https://receiver.example/")


def test_every_allowed_address_is_told_once(names):
    names("93.184.216.34", "93.184.216.34", "93.184.216.35")
    assert guard.target("https://receiver.example/").addresses == ("93.184.216.34", "93.184.216.35")


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]:8443/"])
def test_an_address_needs_no_name_to_be_refused(url):
    with pytest.raises(TargetRefused):
        guard.target(url)


def test_a_name_that_nobody_knows_is_told():
    with pytest.raises(TargetRefused, match="can not be resolved"):
        guard.target("https://nobody.invalid/")


def test_a_name_server_that_says_nothing_is_not_waited_for(monkeypatch):
    silence = threading.Event()
    monkeypatch.setattr(guard, "LOOK_UP_SECONDS", 0.01)
    monkeypatch.setattr(guard.socket, "getaddrinfo", lambda *_, **__: silence.wait(10))
    with pytest.raises(TargetRefused, match="within"):
        guard.target("https://slow.example/")
    silence.set()
