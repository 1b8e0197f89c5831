"""Whatever is claimed, retried, cancelled, replayed, lost or repeated, and in whatever order: the promises hold.

Hypothesis draws the order, and shrinks what breaks a promise to a few steps. The rules are what producers, people,
workers and their side threads do to jobs, each by the platform's own function. The broker is an adversary: it delivers
any message of any attempt at any time, to any worker, in groups, again, or never. After each step all jobs are looked
at (promises.py); in the end all faults cease, and every job must come to its end.

Each step is a transaction of its own: what two of them do at the very same moment is left to the database's locks.

The same lives are lived in every run; ``MACHINE_SEARCHES=600`` lives a hundred times as many. Time is never waited for,
but moved: in the rows, and in what a watcher would make of a worker's silence.
"""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.test import TestCase
from django.utils import timezone
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tasks import jobs
from tasks.dead_letters import replaying
from tasks.dispatch import enqueue
from tasks.errors import IllegalTransition, JobCancelled, PermanentError
from tasks.models import DeadLetter, Job, JobEvent, WorkerProcess
from tasks.registry import registry
from tasks.states import FINAL, JobState
from tasks.tasks import PrunePayload, prune
from tasks.worker.claiming import Answer, claim, hand_back
from tasks.worker.collector import collect
from tasks.worker.envelope import Envelope
from tasks.worker.outcome import Outcome
from tasks.worker.recording import Ended, record
from tasks.worker.relay import ClaimMarks, Pace, publish_due, publish_missing
from tasks.worker.supervision import Forgotten, beat, record_lost_attempts, sign_off
from tests.unit.tasks.factories import make_worker
from tests.unit.tasks.promises import Life, check, lives_of
from tests.unit.tasks.worker.test_claiming import gone_process_id
from tests.unit.tasks.worker.test_collector import dead_message
from tests.unit.tasks.worker.test_relay import FakeBroker

TASK = "probe.echo"
MOST_JOBS = 6
PATIENCE_SECONDS = 3600  # the relay's grace, and the delay of a job: no run of the test lasts as long
WAITING = (JobState.SCHEDULED, JobState.RETRYING)
ENDED_WELL = (JobState.SUCCEEDED, JobState.CANCELLED)
ROUNDS = 2  # of a fair finish, in which every job must end

SEARCHES = int(os.environ.get("MACHINE_SEARCHES", 6))
SEARCH = settings(
    max_examples=9,  # from the eleventh on, most that Hypothesis tries are variations of the same few
    stateful_step_count=20,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
set_hypothesis_home_dir(django_settings.VAR_DIR / "hypothesis")

committed = partial(TestCase.captureOnCommitCallbacks, execute=True)


@pytest.mark.parametrize("number", range(SEARCHES))
def test_no_order_of_events_breaks_a_promise(number, db, outbox, settings):
    settings.TASKS_RELAY_GRACE_SECONDS = PATIENCE_SECONDS
    gone_pid = gone_process_id()
    run_state_machine_as_test(seed(number)(lambda: JobMachine(outbox, gone_pid)), settings=SEARCH)


class Process:
    """One life of a worker's main process: its row, and the attempts it knows that it runs."""

    def __init__(self, name: str):
        self.row = make_worker(name=name)
        self.hand: dict[str, Run] = {}
        self.forgotten = Forgotten()

    def in_hand(self, attempt_id: str) -> bool:
        return attempt_id in self.hand


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """An attempt that a worker was told to run. ``job`` is the row as it was claimed."""

    number: int
    job: Job
    process: Process

    @property
    def id(self) -> str:
        return f"{self.job.pk}.{self.job.attempt}"

    def __repr__(self) -> str:
        return f"<attempt {self.job.attempt} of job {self.number} on {self.process.row.name}>"

    def ended(self, how: str) -> Ended:
        """What a pool child reports."""
        if how == "success":
            outcome = Outcome(succeeded=True, result={"attempt": self.job.attempt})
        else:
            error = {"error": ValueError, "permanent error": PermanentError, "checkpoint": JobCancelled}[how]
            number = self.job.attempt - self.job.attempt_base
            outcome = Outcome.of_error(error("no"), registry.get(TASK).retry, number)
        return Ended(self.job, outcome, self.process.row.name)


def long_ago() -> datetime:
    return timezone.now() - timedelta(seconds=2 * PATIENCE_SECONDS)


numbers: Bundle[int] = Bundle("numbers")
dead_messages: Bundle[tuple[int, int, str]] = Bundle("dead_messages")
some_numbers = st.lists(numbers, min_size=1, max_size=MOST_JOBS, unique=True)
workers = st.sampled_from("ABC")
ahead = st.sampled_from([1, 1, 1, 0, 0, -1, 2])
ago = st.integers(0, 3)
hows = st.sampled_from(["success", "error", "error", "error", "permanent error", "permanent error", "checkpoint"])
normal_life = st.lists(st.tuples(st.integers(0, MOST_JOBS - 1), workers, hows), max_size=4)


def happening(**options: Any) -> Any:
    """A rule; and ``then`` jobs go on as they should, which left to chance would be too rare for much to happen."""

    def decorate(function: Any) -> Any:
        @wraps(function)
        def happen(self: "JobMachine", *values: Any, then: Sequence[tuple[int, str, str]] = (), **named: Any) -> Any:
            result = function(self, *values, **named)
            for step in then:
                self.keep_every_promise()
                self.go_on(*step)
            return result

        return rule(then=normal_life, **options)(happen)

    return decorate


class JobMachine(RuleBasedStateMachine):
    """A job is known by its number, from 0; a worker by a letter, which a new process takes over from its forerunner.

    A message is a pair: the number of its job, and how far it is ahead of the job's latest attempt. At 1 it asks for
    the attempt that comes next, at 0 for the one that runs or ran, at -1 it is stale, at 2 it comes from nowhere.
    """

    def __init__(self, outbox: Any, gone_pid: int):
        super().__init__()
        # Hypothesis would leave half of the rules out of each life it draws. Too little happens then.
        self._rules_strategy.enabled_rules_strategy = st.just(SimpleNamespace(is_enabled=lambda name: True))
        self.all_of_it = transaction.atomic()
        self.all_of_it.__enter__()
        self.outbox, self.gone_pid = outbox, gone_pid
        outbox.clear()
        self.ids: list[UUID] = []
        self.pruned: set[int] = set()
        self.runs: list[Run] = []
        self.silent: set[UUID] = set()  # workers, as a watcher would judge who had watched for long enough
        self.processes = {worker: Process(worker) for worker in "ABC"}
        self.lives: dict[int, Life] = {}  # by number, as they were after the latest step

    def teardown(self) -> None:
        try:
            if sys.exception() is None:
                self.finish_fairly()
                connection.check_constraints()
        finally:
            transaction.set_rollback(True)
            self.all_of_it.__exit__(None, None, None)

    # Producers and people

    @initialize(target=numbers)
    def enqueue_the_first(self) -> Any:
        return multiple(*(self.enqueue("plain", None) for _ in range(3)))

    @precondition(lambda self: len(self.ids) < MOST_JOBS)
    @happening(
        target=numbers, how=st.sampled_from(["plain", "delayed", "expiring"]), key=st.sampled_from([None, "key"])
    )
    def enqueue(self, how: str, key: str | None) -> Any:
        with committed():
            job = enqueue(
                TASK,
                delay_seconds=PATIENCE_SECONDS if how == "delayed" else None,
                expires_at=timezone.now() + timedelta(days=1) if how == "expiring" else None,
                idempotency_key=key,
            )
        if job.pk in self.ids:
            assert key, "two jobs are one"
            return multiple()
        self.ids.append(job.pk)
        return len(self.ids) - 1

    @happening(number=numbers)
    def cancel(self, number: int) -> None:
        if number in self.pruned:
            return
        state = self.lives[number].state
        if state in FINAL:
            with pytest.raises(IllegalTransition):
                jobs.cancel(self.ids[number])
        else:
            reached = JobState.RUNNING if state == JobState.RUNNING else JobState.CANCELLED
            assert jobs.cancel(self.ids[number]).state == reached

    @happening(number=numbers)
    def replay(self, number: int) -> None:
        if number in self.pruned:
            return
        with committed():
            if self.lives[number].state == JobState.DEAD:
                jobs.replay(self.ids[number])
            else:
                with pytest.raises(IllegalTransition):
                    jobs.replay(self.ids[number])

    @happening(number=numbers, newest=st.booleans())
    def replay_letter(self, number: int, newest: bool) -> None:
        if number in self.pruned or not self.lives[number].letters:
            return
        letter = self.lives[number].letters[-1 if newest else 0]
        with committed():
            if letter.state == DeadLetter.State.OPEN:
                assert replaying.replay(letter.pk).state == DeadLetter.State.REPLAYED
            else:
                with pytest.raises(IllegalTransition):
                    replaying.replay(letter.pk)

    @happening(number=numbers)
    def expire(self, number: int) -> None:
        Job.objects.filter(pk=self.ids[number], finished_at=None).update(expires_at=long_ago())

    @happening(number=numbers)
    def prune(self, number: int) -> None:
        ended_well = Job.objects.filter(pk=self.ids[number], state__in=ENDED_WELL)
        if ended_well.update(finished_at=timezone.now() - timedelta(days=99)):
            context = SimpleNamespace(checkpoint=lambda: None, progress=lambda *_, **__: None)
            assert prune(PrunePayload(older_than_days=90), context)["jobs_deleted"] == 1
            self.pruned.add(number)

    # The broker, and what a worker's main process does

    @happening(messages=st.lists(st.tuples(numbers, ahead), min_size=1, max_size=5), worker=workers)
    def deliver(self, messages: Sequence[tuple[int, int]], worker: str) -> None:
        self.claim(messages, worker)

    @happening(some=some_numbers, worker=workers)
    def deliver_and_lose_the_answer(self, some: Sequence[int], worker: str) -> None:
        """The claims are committed, and the worker does not hear of it."""
        self.claim([(number, 1) for number in some], worker, heard=False)

    def claim(self, messages: Sequence[tuple[int, int]], worker: str, heard: bool = True) -> list[Run]:
        process = self.processes[worker]
        envelopes = [Envelope(self.ids[number], self.attempt(number, ahead), TASK) for number, ahead in messages]
        claims = claim(envelopes, process.row, in_hand=process.in_hand)
        dropped: Counter[int] = Counter()
        begun: list[Run] = []
        for (number, _), answer in zip(messages, claims, strict=True):
            assert number not in self.pruned or answer.answer is Answer.REJECT
            if answer.answer is Answer.DROP:
                dropped[number] += 1
            elif answer.answer is Answer.RUN and heard:
                begun.append(Run(number, answer.job, process))
        for number, times in dropped.items():
            said = [kind for kind in self.news(number) if kind != JobEvent.Kind.RUNNING]
            assert len(said) >= times, "a message was dropped without a word"
        process.hand |= {run.id: run for run in begun}
        self.runs += begun
        return begun

    @happening(how=hows)
    def finish_all_in_hand(self, how: str) -> None:
        self.finish([(run, how) for run in self.in_hand()])

    @happening(which=st.lists(st.tuples(ago, hows), min_size=1, max_size=2))
    def finish_any(self, which: Sequence[tuple[int, str]]) -> None:
        """Any run at any time: the one that counts, one long superseded, or the same once more."""
        self.finish([(run, how) for ago, how in which for run in self.run(ago)])

    def finish(self, ends: Sequence[tuple[Run, str]]) -> None:
        ends = [(run, how) for run, how in ends if run.number not in self.pruned]
        reached = record([run.ended(how) for run, how in ends])
        in_time = {run.id for run, _ in ends if self.is_at_hand(run)}
        late: Counter[int] = Counter()
        for (run, _), state in zip(ends, reached, strict=True):
            assert (state is not None) == (run.id in in_time), "one outcome counts: that of the attempt at hand"
            in_time.discard(run.id)
            late[run.number] += state is None
            run.process.hand.pop(run.id, None)
        for number, times in late.items():
            assert self.news(number).count(JobEvent.Kind.DUPLICATE) == times, "an outcome was dropped without a word"

    @happening(which=st.lists(ago, min_size=1, max_size=3))
    def hand_back(self, which: Sequence[int]) -> None:
        """The connection closed before the pool took them. One may run all the same, or have moved on."""
        some = [run for ago in which for run in self.run(ago)]
        at_hand = {run.id for run in some if self.is_at_hand(run)}
        handed_back: list[str] = []
        for process in dict.fromkeys(run.process for run in some):
            mine = [run for run in some if run.process is process]
            with committed():
                back = hand_back(
                    [(run.job.pk, run.job.attempt) for run in mine], process.row, why="the connection closed"
                )
            assert not back.held, "no transaction holds a row"
            handed_back += [f"{job.pk}.{job.attempt}" for job in back.jobs]
            for run in mine:
                process.hand.pop(run.id, None)
        assert sorted(handed_back) == sorted(at_hand), "one hand-back counts: that of the attempt at hand"

    @happening(worker=workers, how=st.sampled_from(["killed", "stopped"]))
    def replace_worker(self, worker: str, how: str) -> None:
        row = self.processes[worker].row
        if how == "killed":
            WorkerProcess.objects.filter(pk=row.pk).update(pid=self.gone_pid)
        else:
            sign_off(row)
        self.processes[worker] = Process(worker)

    # A worker's side threads

    @happening(worker=workers)
    def fall_silent(self, worker: str) -> None:
        """Frozen, or cut off for a while: it may go on at any time."""
        self.silent.add(self.processes[worker].row.pk)

    @happening(worker=workers)
    def give_a_sign_of_life(self, worker: str) -> None:
        beat(self.processes[worker].row)
        self.silent.discard(self.processes[worker].row.pk)

    @happening(worker=workers)
    def look_for_lost_workers(self, worker: str) -> None:
        silence = SimpleNamespace(look=lambda signs: self.silent & signs.keys())
        record_lost_attempts(silence, self.processes[worker].row)

    @happening(worker=workers)
    def look_for_forgotten_attempts(self, worker: str) -> None:
        process = self.processes[worker]
        process.forgotten.record(process.row, process.in_hand)

    @happening(some=some_numbers)
    def publish_due(self, some: Sequence[int]) -> None:
        """The time of ``some`` has come, and of no other job."""
        waiting = Job.objects.filter(state__in=WAITING)
        waiting.update(due_at=timezone.now() + timedelta(seconds=PATIENCE_SECONDS))
        waiting.filter(pk__in=[self.ids[number] for number in some]).update(due_at=long_ago())
        broker = FakeBroker()
        publish_due(broker)
        self.outbox += broker.published

    @happening(some=some_numbers)
    def publish_missing(self, some: Sequence[int]) -> None:
        """``some`` have been queued for longer than the grace, and no other job."""
        queued = Job.objects.filter(state=JobState.QUEUED, pk__in=[self.ids[number] for number in some])
        queued.update(queued_at=long_ago())
        broker = FakeBroker()
        publish_missing(broker, ClaimMarks(), Pace())
        self.outbox += broker.published

    @happening(target=dead_messages, number=numbers, ahead=ahead, why=st.sampled_from(["rejected", "delivery_limit"]))
    def give_up_message(self, number: int, ahead: int, why: str) -> Any:
        """The broker moves a message to its dead queue, where it waits for a collector."""
        return number, self.attempt(number, ahead), why

    @happening(dead=dead_messages)
    def collect(self, dead: tuple[int, int, str]) -> None:
        """At once, long after, or once more."""
        number, attempt, why = dead
        headers = {"task": TASK, "id": f"{self.ids[number]}.{attempt}"}
        collect(dead_message(headers=headers, deaths=[{"queue": "work-queue", "reason": why, "count": 1}]))

    # What must hold after each step, and in the end

    @invariant()
    def keep_every_promise(self) -> None:
        before, lives = self.lives, lives_of(self.ids)
        self.lives = {number: lives[id] for number, id in enumerate(self.ids) if id in lives}
        assert self.lives.keys() == set(range(len(self.ids))) - self.pruned, "a job is lost"
        sent = {(message.job_id, message.attempt) for message in self.outbox}
        for number, life in self.lives.items():
            if life == before.get(number):
                continue
            check(life, before.get(number))
            if life.state == JobState.QUEUED:
                assert (self.ids[number], life.attempt + 1) in sent, "nobody was told to run the job"

    def finish_fairly(self) -> None:
        """Nothing fails from here on, and time passes: whatever became of a job so far, it comes to its end."""
        for _ in range(ROUNDS):
            living = {process.row.pk for process in self.processes.values()}
            self.silent |= set(WorkerProcess.objects.values_list("pk", flat=True)) - living
            for worker in self.processes:
                self.give_a_sign_of_life(worker)
                self.look_for_lost_workers(worker)
                self.look_for_forgotten_attempts(worker)
                self.look_for_forgotten_attempts(worker)
            sent_before = len(self.outbox)
            self.publish_missing(range(len(self.ids)))
            self.publish_due(range(len(self.ids)))
            self.keep_every_promise()
            for message in self.outbox[sent_before:]:
                self.claim([(self.ids.index(message.job_id), 1)], "A")
                self.keep_every_promise()
            self.finish_all_in_hand("success")
            self.keep_every_promise()
        for number, life in self.lives.items():
            assert life.state in FINAL, f"job {number} never ends"

    def go_on(self, nth: int, worker: str, how: str) -> None:
        """The next thing that should happen to one of the jobs that can go on."""
        able = [number for number, life in self.lives.items() if life.state not in ENDED_WELL]
        if not able:
            return
        number = able[nth % len(able)]
        match self.lives[number].state:
            case JobState.SCHEDULED | JobState.RETRYING:
                self.publish_due([number])
            case JobState.QUEUED:
                self.claim([(number, 1)], worker)
            case JobState.RUNNING:
                self.finish([(run, how) for run in self.in_hand() if run.number == number])
            case JobState.DEAD:
                self.replay(number)

    def in_hand(self) -> list[Run]:
        return [run for process in self.processes.values() for run in process.hand.values()]

    def run(self, ago: int) -> list[Run]:
        """The one at ``ago`` among those in hand and, after them, those that are over; of both the latest first."""
        in_hand = self.in_hand()
        over = [run for run in self.runs if run not in in_hand]
        return [*reversed(in_hand), *reversed(over)][ago : ago + 1]

    def is_at_hand(self, run: Run) -> bool:
        """Whether its job is running at this very attempt."""
        life = self.lives.get(run.number)
        return life is not None and life.state == JobState.RUNNING and life.attempt == run.job.attempt

    def attempt(self, number: int, ahead: int) -> int:
        latest = self.lives[number].attempt if number in self.lives else 0
        return max(1, latest + ahead)

    def news(self, number: int) -> list[str]:
        """Kinds of the events that the present step has added to the job's history."""
        seen = self.lives[number].events[-1].pk
        return list(JobEvent.objects.filter(job=self.ids[number], pk__gt=seen).values_list("kind", flat=True))
