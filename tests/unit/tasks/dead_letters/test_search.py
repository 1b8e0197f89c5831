import json
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from tasks.dead_letters import search
from tasks.errors import InvalidQuery
from tasks.models import DeadLetter
from tests.unit.tasks.factories import letter_of

pytestmark = pytest.mark.django_db

NOW = timezone.now()


@pytest.fixture
def found():
    """Names of the letters that a query finds, newest first; a letter's name is its queue."""
    group = uuid.UUID(int=7)
    letter_of(queue="a", task="mail.send", error_type="SMTPServerDisconnected", error="Connection unexpectedly closed")
    letter_of(queue="b", task="mail.bulk", error_type="ReadTimeout", error="api.example.org took too long; größe 42")
    letter_of(queue="c", task="report.build", reason="expired", release="1.2", group_id=group)
    letter_of(queue="d", task="report.build", died_at=NOW - timedelta(days=3))
    letter_of(queue="e", task="", payload={"customer": {"id": 42, "name": "Ann O'Neil"}, "items": [{"sku": "x1"}]})
    letter_of(queue="f", payload={"customer": {"id": "42"}, "paid": True, "gift": None, "sum": 9.5, "0": {"1": "k"}})
    letter_of(queue="g", state="discarded", task="mail.send")
    letter_of(queue="h", state="replayed", task="mail.send")
    return lambda query, **options: [letter.queue for letter in search.letters(query, **options)]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "fedcba"),
        ("closed", "a"),
        ("UNEXP", "a"),
        ("connection closed", "a"),
        ("connection long", ""),
        ("timeout", "b"),
        ("disconnected", "a"),
        ("api.example.org", "b"),
        ("größ", "b"),
        ("mail", "ba"),
        ("task:mail.send", "a"),
        ("task:mail.*", "ba"),
        ("task:mail.send task:report.build", "dca"),
        ("queue:d", "d"),
        ("reason:expired", "c"),
        (f"group:{uuid.UUID(int=7)}", "c"),
        ("release:1.2", "c"),
        ("before:2d", "d"),
        ("after:2d task:report.build", "c"),
        ("state:discarded", "g"),
        ("state:all task:mail.send", "hga"),
        ("data.customer.id:42", "fe"),
        ('data.customer.name:"Ann O\'Neil"', "e"),
        ("data.customer.id:42 data.paid:true", "f"),
        ("data.gift:null", "f"),
        ("data.sum:9.5", "f"),
        ("data.items.0.sku:x1", "e"),
        ("data.items.1.sku:x1", ""),
        ("data.0.1:k", "f"),
        ("data.customer:42", ""),
        ("data.customer.id__gt:1", ""),
        ("data.customer.i'd:42", ""),
        ({"task": ["mail.send", "mail.bulk"], "text": "closed"}, "a"),
        ({"data.customer.id": 42}, "e"),
    ],
)
def test_a_query_finds_the_letters_that_match_all_of_it(found, query, names):
    assert "".join(found(query)) == names


@pytest.mark.parametrize("name", ["probe.renamed", "probe.old_name"])
def test_a_task_is_found_under_every_name_that_it_had(name):
    before, since = letter_of(task="probe.old_name"), letter_of(task="probe.renamed")
    letter_of(task="probe.echo")
    assert list(search.letters(f"task:{name}")) == [since, before]


def test_the_state_is_the_callers_unless_the_query_says(found):
    assert found("task:mail.send", state="discarded") == ["g"]
    assert found("task:mail.send state:replayed", state="discarded") == ["h"]
    assert found("task:mail.send", state="") == ["h", "g", "a"]


def test_a_letter_is_found_by_its_own_id_and_its_jobs():
    letter = letter_of()
    letter_of()
    assert list(search.letters(str(letter.pk))) == [letter]
    assert list(search.letters(str(letter.job_id))) == [letter]


def test_a_bad_query_finds_nothing_and_says_why(found):
    with pytest.raises(InvalidQuery, match="there are open, replayed, discarded, all"):
        found("state:lost")


def test_a_count_stops_at_its_cap(found):
    assert str(search.count(search.letters(""), cap=5)) == "5+"
    assert str(search.count(search.letters(""), cap=6)) == "6"
    assert str(search.Count(10_000, is_capped=True)) == "10,000+"


def test_what_a_query_finds_is_counted_and_words_not_as_far(found, monkeypatch):
    monkeypatch.setattr(search, "MAX_COUNTED", 5)
    monkeypatch.setattr(search, "MAX_COUNTED_WITH_WORDS", 1)
    assert str(search.how_many("")) == "5+"
    assert str(search.how_many("mail")) == "1+"
    assert str(search.how_many("task:mail.send", state="all")) == "3"


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no such indexes")
@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("closed", "dead_letter_words"),
        ("data.customer.id:42", "dead_letter_payload"),
        ("data.items.0.sku:x1", "dead_letter_payload"),
    ],
)
def test_postgresql_has_an_index_for_it(found, query, index):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
        assert index in json.dumps(search.letters(query, state="all").explain(format="json"))


def test_every_state_of_a_letter_can_be_asked_for(found):
    assert len(found("state:all")) == DeadLetter.objects.count()
