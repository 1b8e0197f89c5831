import pytest
from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel

from tasks.errors import UnknownTask
from tasks.registry import Registry, registry, task
from tasks.topology import TOPOLOGY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "NoDots"}, "dotted lower case"),
        ({"name": "probe.x", "queue": "emial-queue"}, "no queue 'emial-queue'"),
        ({"name": "probe.x", "time_limit_seconds": 0}, "1 to 1800"),
        ({"name": "probe.x", "time_limit_seconds": 3600}, "1 to 1800"),
    ],
)
def test_a_bad_registration_is_refused_at_import(arguments, message):
    with pytest.raises(ImproperlyConfigured, match=message):
        task(payload=BaseModel, **arguments)


def test_two_functions_can_not_share_a_name():
    echo = registry.get("probe.echo")
    mine = Registry()
    mine.add(echo)
    mine.add(echo)
    with pytest.raises(ImproperlyConfigured, match="two functions"):
        mine.add(type(echo)(**{**vars(echo), "function": lambda payload, context: None}))


@pytest.fixture
def names(monkeypatch):
    """Registrations that are gone again after the test."""
    monkeypatch.setattr(registry, "_specs", dict(registry._specs))


def work(payload, context):
    """Something to register."""


@pytest.mark.parametrize(
    ("name", "aliases", "message"),
    [
        ("case.new", ("probe.echo",), "'probe.echo' is a name or an alias of task 'probe.echo'"),
        ("case.new", ("probe.old_name",), "'probe.old_name' is a name or an alias of task 'probe.renamed'"),
        ("probe.old_name", (), "'probe.old_name' is a name or an alias of task 'probe.renamed'"),
        ("case.new", ("case.new",), "each once"),
        ("case.new", ("case.old", "case.old"), "each once"),
        ("case.new", ("Old",), "dotted lower case"),
        ("case.new", "case.old", "is a tuple of names"),
    ],
)
def test_an_alias_that_means_two_things_is_refused_at_import(names, name, aliases, message):
    before = dict(registry._specs)
    with pytest.raises(ImproperlyConfigured, match=message):
        task(name, payload=BaseModel, aliases=aliases)(work)
    assert registry._specs == before


def test_an_alias_leads_to_its_task_and_is_not_listed(names):
    task("case.new", payload=BaseModel, aliases=("case.old", "case.older"))(work)
    assert registry.get("case.old") is registry.get("case.older") is registry.get("case.new")
    assert "case.old" in registry
    listed = [spec.name for spec in registry]
    assert ("case.new" in listed, "case.old" in listed) == (True, False)
    assert listed == sorted(set(listed))


def test_a_task_may_be_registered_again_with_its_aliases(names):
    for _ in range(2):
        task("case.new", payload=BaseModel, aliases=("case.old",))(work)
    assert registry.names_of("case.old") == registry.names_of("case.new") == ("case.new", "case.old")
    assert registry.names_of("case.unknown") == ("case.unknown",)


def test_an_unknown_task_lists_the_known_ones():
    with pytest.raises(UnknownTask, match=r"no task 'nope.nope'; there are .*probe\.echo"):
        registry.get("nope.nope")


def test_the_soft_limit_comes_before_the_hard_one():
    assert all(0 < spec.soft_time_limit_seconds < spec.time_limit_seconds for spec in registry)


def test_every_queue_leads_its_dead_letters_to_a_queue_of_its_own():
    names = [*TOPOLOGY.queue_names, *(queue.dead_name for queue in TOPOLOGY.queues)]
    assert len(set(names)) == len(names) == 16
    assert TOPOLOGY.queue("email-queue").dead_name == "email-queue.dead"


def test_every_fanout_leads_to_declared_queues():
    assert all(TOPOLOGY.queue(name) for queues in TOPOLOGY.fanouts.values() for name in queues)
