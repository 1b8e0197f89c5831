"""The arithmetic itself, on tables: each rule finds what it is for, and nothing in a run that went well."""

from collections import Counter
from uuid import UUID

import pytest

from tests.chaos.verdict import Event, Evidence, Letter, Row, judge

JOB = UUID(int=1)
QUEUED, RUN_1, RUN_2 = Event("queued"), Event("running", 1), Event("running", 2)
LOST_1, AGAIN_1 = Event("retrying", 1), Event("queued", 1)
DONE_1, DONE_2, DEAD_1 = Event("succeeded", 1), Event("succeeded", 2), Event("dead", 1)
WELL = [QUEUED, RUN_1, DONE_1]
COLLECTED = Letter(JOB, 1, "permanent", collected=True)


def evidence(
    state: str = "succeeded",
    attempt: int = 1,
    events: list[Event] = WELL,
    effects: dict[int | None, int] | None = None,
    *,
    base: int = 0,
    wanted: str = "succeeded",
    letters: list[Letter] = [],  # noqa: B006  never changed
    **more: bool,
) -> Evidence:
    return Evidence(
        wanted={JOB: wanted},
        rows={JOB: Row(state, attempt, base)},
        events={JOB: events},
        letters=letters,
        effects=Counter({(JOB, number): count for number, count in ({1: 1} if effects is None else effects).items()}),
        **more,
    )


RUN_TWICE = [QUEUED, RUN_1, LOST_1, AGAIN_1, RUN_2, DONE_2]
FINE = {
    "once": evidence(),
    "a mail, whose attempt nobody can tell": evidence(effects={None: 1}),
    "lost after its effect, and run again": evidence("succeeded", 2, RUN_TWICE, {1: 1, 2: 1}),
    "the same with a mail": evidence("succeeded", 2, RUN_TWICE, {None: 2}),
    "handed back": evidence(
        "succeeded", 2, [QUEUED, RUN_1, Event("handed_back", 1), RUN_2, DONE_2], {2: 1}, base=1
    ),
    "a late outcome": evidence(
        "succeeded", 2, [*RUN_TWICE, Event("duplicate", 1, {"outcome": "succeeded"})], {1: 1, 2: 1}
    ),
    "a message delivered again": evidence(events=[*WELL, Event("duplicate", 1, {"redelivered": True})]),
    "a message published again": evidence(events=[QUEUED, Event("republished"), RUN_1, DONE_1, Event("duplicate", 1)]),
    "a copy of which nobody knew": evidence(events=[*WELL, Event("duplicate", 1)], copies_expected=True),
    "dead as it should be": evidence("dead", 1, [QUEUED, RUN_1, DEAD_1], {}, wanted="dead", letters=[COLLECTED]),
    "replayed": evidence(
        "succeeded", 2, [QUEUED, RUN_1, DEAD_1, Event("replayed", 1), RUN_2, DONE_2], {2: 1}, base=1
    ),
    "dead before it began": evidence(
        "dead", 0, [QUEUED, Event("dead")], {}, wanted="dead", letters=[Letter(JOB, 0, "expired", collected=True)]
    ),
    "evidence that went with the broker": evidence(
        "dead", 1, [QUEUED, RUN_1, DEAD_1], {}, wanted="dead",
        letters=[Letter(JOB, 1, "permanent", collected=False)], evidence_expected=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FINE)
def test_what_went_well_is_a_pass(case):
    figures, misses = judge(FINE[case])
    assert misses == []
    assert (figures.accepted, figures.ended, figures.lost) == (1, 1, 0)


WRONG = {
    "never ended": (evidence("running", 1, [QUEUED, RUN_1], {}), "never ended: it is running"),
    "ended otherwise": (
        evidence("dead", 1, [QUEUED, RUN_1, DEAD_1], {}, letters=[COLLECTED]), "is dead and should be succeeded"
    ),
    "no effect": (evidence(effects={}), "whose effect nobody saw"),
    "another attempt's effect": (evidence("succeeded", 2, RUN_TWICE, {1: 1}), "whose effect nobody saw"),
    "one attempt twice": (evidence(effects={1: 2}), "attempt 1 had its effect 2 times"),
    "a mail twice": (evidence(effects={None: 2}), "had its effect 2 times, with 0 attempts given up"),
    "never claimed": (evidence(effects={1: 1, 2: 1}), "attempt 2 had its effect and was never claimed"),
    "an attempt nobody ended": (
        evidence("succeeded", 2, [QUEUED, RUN_1, RUN_2, DONE_2], {1: 1, 2: 1}), "does not tell how it ended"
    ),
    "two ends": (evidence(events=[*WELL, DONE_1]), "ended twice: succeeded, then succeeded"),
    "a row without history": (evidence("succeeded", 2, WELL, {2: 1}), "has a history that tells of"),
    "a copy that nobody sent": (evidence(events=[*WELL, Event("duplicate", 1)]), "nobody had sent it again"),
    "no letter": (evidence("dead", 1, [QUEUED, RUN_1, DEAD_1], {}, wanted="dead"), "is dead without a dead letter"),
    "no evidence": (
        evidence("dead", 1, [QUEUED, RUN_1, DEAD_1], {}, wanted="dead", letters=[Letter(JOB, 1, "x", False)]),
        "without the broker's evidence",
    ),
    "a stranger": (evidence(letters=[Letter(None, 0, "undecodable", True)]), "dead letters of no job: 1 undecodable"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_add_up_is_a_miss(case):
    found, what = WRONG[case]
    _, misses = judge(found)
    assert any(what in miss.what for miss in misses), misses


def test_what_was_accepted_and_is_gone_is_lost():
    found = evidence()
    found.rows, found.events, found.effects = {}, {}, Counter()
    figures, misses = judge(found)
    assert (figures.lost, [miss.what for miss in misses]) == (1, ["was accepted, and is not in the database"])


def test_what_nobody_asked_for_is_a_miss():
    found = evidence()
    found.wanted = {}
    _, misses = judge(found)
    assert [miss.job_id for miss in misses] == [JOB]


def test_the_figures_count_what_happened_on_the_way():
    events = [QUEUED, RUN_1, LOST_1, AGAIN_1, Event("running", 2, {"redelivered": True}), DONE_2, Event("duplicate", 1)]
    figures, _ = judge(evidence("succeeded", 2, events, {1: 1, 2: 1}))
    assert (figures.redelivered, figures.suppressed, figures.repeated) == (1, 1, 1)
