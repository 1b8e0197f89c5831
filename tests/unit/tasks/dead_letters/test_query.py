import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tasks.dead_letters.query import Place, Query, as_dict, read, up_to, values_of, with_values
from tasks.errors import InvalidQuery

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = uuid.UUID("019ab3c4-7d5e-7f10-8a2b-3c4d5e6f7a8b")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", Query()),
        ("refused timeout", Query(words=("refused", "timeout"))),
        ("smtplib.SMTPException:", Query(words=("smtplib", "SMTPException"))),
        ('"connection refused"', Query(words=("connection", "refused"))),
        ('"state:open"', Query(words=("state", "open"))),
        ("http://x.test", Query(words=("http", "x", "test"))),
        ("12:30", Query(words=("12", "30"))),
        ("größe", Query(words=("größe",))),
        (str(ID), Query(ids=(ID,))),
        ("task:mail.send task:mail.bulk", Query(tasks=("mail.send", "mail.bulk"))),
        ("task:mail.*", Query(tasks=("mail.*",))),
        ('queue:"my queue" reason:expired', Query(queues=("my queue",), reasons=("expired",))),
        (f"group:{ID} release:1.2+b.3", Query(groups=(ID,), releases=("1.2+b.3",))),
        ("state:discarded", Query(state="discarded")),
        ("state:all", Query(state="all")),
        ("after:2h", Query(after=NOW - timedelta(hours=2))),
        ("after:30min before:1w", Query(after=NOW - timedelta(minutes=30), before=NOW - timedelta(weeks=1))),
        ("before:2026-02-01", Query(before=datetime(2026, 2, 1, tzinfo=UTC))),
        ("before:2026-02-01T10:30+01:00", Query(before=datetime(2026, 2, 1, 9, 30, tzinfo=UTC))),
        ("data.customer.id:42", Query(places=(Place(("customer", "id"), ("42", 42)),))),
        ("data.paid:true", Query(places=(Place(("paid",), ("true", True)),))),
        ("data.sum:9.5", Query(places=(Place(("sum",), ("9.5", 9.5)),))),
        ('data.name:"Ann O\'Neil"', Query(places=(Place(("name",), ("Ann O'Neil",)),))),
        ("data.at:12:30", Query(places=(Place(("at",), ("12:30",)),))),
    ],
)
def test_a_query_is_words_and_fields(text, query):
    assert read(text, now=NOW) == query
    assert read(as_dict(text), now=NOW) == query


def test_a_dict_may_hold_lists_moments_and_values_of_any_kind():
    asked = {"task": ["a.b", "c.d"], "after": NOW, "data.customer.id": 42, "text": "refused"}
    assert read(asked, now=NOW) == Query(
        tasks=("a.b", "c.d"), after=NOW, places=(Place(("customer", "id"), (42,)),), words=("refused",)
    )


@pytest.mark.parametrize(
    ("query", "field", "remedy"),
    [
        ("colour:red", "colour", "there are task, queue"),
        ("state:gone", "state", "there are open"),
        ("reason:bad", "reason", "there are permanent"),
        ("group:7", "group", "copy the group's"),
        ("after:soon", "after", "write 2026-03-01"),
        ("after:2026-13-01", "after", "write 2026-03-01"),
        ("after:999999w", "after", "give less"),
        ("state:open state:all", "state", "give it once"),
        ("task:*.send", "task", "mail.*"),
        ("data.a..b:1", "data.a..b", "data.customer.id:42"),
        ("data.1.1.1.1.1:x", "data.1.1.1.1.1", "4 of them"),
        ("data.password:x", "data.password", "masked"),
        ({"data.a": {"b": 1}}, "data.a", "data.customer.id:42"),
        ({"task": ""}, "task", "leave it out"),
        ({"queue": "a\0b"}, "queue", "leave it out"),
        ("-- !!", "text", "leave it out"),
        ('"half', "query", "add it"),
        ("x" * 3000, "query", "shorten it"),
        ("x " * 21, "text", "20 at most"),
    ],
)
def test_what_can_not_be_understood_is_named_with_its_remedy(query, field, remedy):
    with pytest.raises(InvalidQuery) as caught:
        read(query, now=NOW)
    assert caught.value.problems[0]["field"] == field
    assert remedy in caught.value.problems[0]["message"]


@pytest.mark.parametrize(
    ("text", "values", "written"),
    [
        ("", ["open"], "state:open"),
        ("luck  task:a state:all", ["open"], "luck task:a state:open"),
        ("state:all luck", [], "luck"),
        ('say "no state:all" state:all', ["my state"], 'say "no state:all" state:"my state"'),
        ("luck", ["a", "b"], "luck state:a state:b"),
        ('say "no state:all', ["open"], 'say "no state:all state:open'),
    ],
)
def test_the_values_of_a_name_are_replaced_and_the_rest_stays_as_typed(text, values, written):
    assert with_values(text, "state", values) == written
    assert '"no' in text or values_of(written, "state") == values


def test_what_can_not_be_understood_asks_for_no_values():
    assert values_of('state:all "', "state") == []


@pytest.mark.parametrize(
    ("query", "bounded"),
    [
        ("", "before:2026-03-01T12:30"),
        ("task:a luck", "task:a luck before:2026-03-01T12:30"),
        ({"task": "a"}, {"task": "a", "before": "2026-03-01T12:30"}),
        ("before:2h", "before:2026-03-01T10:30:00+00:00"),
        ("after:1d x", "x before:2026-03-01T12:30 after:2026-02-28T12:30:00+00:00"),
        ({"before": "2h"}, {"before": "2026-03-01T10:30:00+00:00"}),
        ({"operation": "x"}, {"operation": "x"}),
        ('say "no', 'say "no'),
    ],
)
def test_what_was_looked_at_is_all_that_is_found_later(query, bounded):
    assert up_to(query, "2026-03-01T12:30") == bounded
