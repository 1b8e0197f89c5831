from datetime import UTC, datetime, timedelta

import pytest

from tasks import words
from tasks.models import DeadLetter, JobEvent

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"), (0, "0 ms"), (0.34, "340 ms"), (0.9999, "1.0 s"), (2.06, "2.1 s"), (9.96, "10 s"), (59.4, "59 s"),
        (60, "1 min"), (185, "3 min 5 s"), (3600, "1 h"), (7800, "2 h 10 min"), (90000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_durations_take_two_units_at_most(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "just now"),
        (5, "5 s ago"),
        (-5, "in 5 s"),
        (300, "5 min ago"),
        (-7199.9, "in 2 h"),
        (86400 * 3, "3 d ago"),
    ],
)
def test_moments_are_told_from_now(seconds, text):
    assert words.relative(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("kind", "detail", "text"),
    [
        ("running", {"worker": "w@a"}, "on w@a"),
        ("cancelled", {"requested_by": "ada"}, "by ada"),
        ("retrying", {"error": "E: x", "delay_seconds": 2.5}, "E: x; next attempt after 2.5 s"),
        ("dead", {"reason": "time_limit", "error": "E"}, "time limit exceeded; E"),
        ("duplicate", {"worker": "w@a", "outcome": "succeeded"},
         "a second delivery reached w@a; its outcome did not count: succeeded"),
        ("running", {"worker": "w@a", "redelivered": True}, "on w@a; delivered again by the broker"),
        ("handed_back", {"why": "the worker was stopped"}, "the worker was stopped"),
        ("retrying", {"evidence": {"signal": "SIGKILL", "peak_memory_bytes": 2048, "log": ["x"]}},
         "signal SIGKILL, peak memory 2.0 KB"),
        ("queued", {}, ""),
        ("queued", {"grace_seconds": 15, "none": None}, "grace seconds: 15"),
    ],
)  # fmt: skip
def test_events_are_told_in_words(kind, detail, text):
    assert words.event(JobEvent(kind=kind, detail=detail)) == text


@pytest.mark.parametrize(
    ("raw", "kind", "begin"),
    [
        (b'{"a": 1}', "JSON, 8 bytes", '{\n  "a": 1'),
        ("größe".encode(), "text, 7 bytes", "größe"),
        (b"\x00\x01", "hex dump, 2 bytes", "00000000  00 01"),
        (b"\xff" * 3, "hex dump, 3 bytes", "00000000  ff ff ff"),
        (b"", "text, 0 bytes", ""),
        ("ü".encode() * 3000, "text, first 4,096 of 6,000 bytes", "ü"),
        (b"a" + "ü".encode() * 3000, "text, first 4,096 of 6,001 bytes", "aü"),
        (b"\xfe" * 5000, "hex dump, first 4,096 of 5,000 bytes", "00000000  fe"),
    ],
)
def test_a_body_is_text_where_it_can_be_and_else_a_hex_dump(raw, kind, begin):
    how, text = words.body(raw)
    assert how == kind
    assert text.startswith(begin)
    assert len(text) < 25_000


def test_deaths_bear_whatever_the_broker_wrote():
    letter = DeadLetter(properties={"deaths": [{}, "odd", {"queue": "q", "reason": "delivery_limit", "count": 21}]})
    assert words.deaths(letter) == [
        "Given up by a queue once; sent to the default exchange with key none",
        "Delivery limit by q 21 times; sent to the default exchange with key none",
    ]


def test_links_of_a_result_are_only_addresses_a_browser_may_follow():
    result = {
        "url": "/a/",
        "pdf": {"url": "https://x.test/p"},
        "variants": [{"name": "thumb", "url": "/t/", "format": "webp"}, {"url": "/u/"}],
        "thumbnail_url": "/v/",
        "bad": {"url": "javascript:alert(1)"},
        "worse": {"url": "//evil.test/"},
        "odd": {"url": 7},
    }
    assert list(words.links_in(result)) == [
        ("Open", "/a/"),
        ("pdf", "https://x.test/p"),
        ("thumb (webp)", "/t/"),
        ("variants 2", "/u/"),
        ("thumbnail", "/v/"),
    ]


def test_long_json_is_cut():
    assert words.pretty({"a": "x" * 30_000}).endswith("more characters")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc\r\nd é 漢", "a\tb\nc\r\nd é 漢"),
        ("\x1b[2J", "\\u001b[2J"),
        ("12345\rok", "12345\\u000dok"),
        ("\x00\x08\x7f\x9b", "\\u0000\\u0008\\u007f\\u009b"),
        ("\u202egpj.exe\u2066", "\\u202egpj.exe\\u2066"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text, shown):
    assert words.printable(text) == shown
