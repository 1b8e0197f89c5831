"""What the consumer does with messages, claims and outcomes when the database, or one of them, is not what it should
be."""

import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from celery.bootsteps import CLOSE, RUN
from celery.worker import state
from django.db import DataError, OperationalError, ProgrammingError

from tasks.models import Job
from tasks.states import JobState
from tasks.worker import consumer as room
from tasks.worker import settling
from tasks.worker.arrivals import Arrivals
from tasks.worker.claiming import Answer, Attempt, Claim, HandedBack
from tasks.worker.consumer import PRIORITY_EXCHANGE, JobConsumer
from tasks.worker.deliveries import Deliveries
from tasks.worker.envelope import Envelope, WrongMessage
from tasks.worker.execution import TURN_SECONDS
from tasks.worker.foreign import Foreign
from tasks.worker.outcome import Outcome
from tasks.worker.recording import OUTAGE
from tasks.worker.settling import Settling
from tasks.worker.turns import STUCK_SECONDS, Line, Pace, Turn
from tasks.worker.window import Window
from tests.unit.tasks.worker.test_settling import Recorder

DONE = Outcome(succeeded=True)
LOST = Outcome(succeeded=False, reason="worker_lost")
TASK = "probe.echo"
WORKER = "this worker"


class Timer:
    """Has its calls made by the test."""

    def __init__(self) -> None:
        self.later: list[Any] = []
        self.repeated: list[Any] = []

    def call_after(self, seconds: float, call: Callable[[], object]) -> None:
        self.later.append(call)

    def call_repeatedly(self, seconds: float, call: Callable[[], object]) -> None:
        self.repeated.append(call)


class Message:
    """Remembers how it was settled."""

    headers, body, content_type = {"task": TASK, "id": "1.1"}, b"", ""

    def __init__(self, tag: int, envelope: Envelope | Exception, exchange: str = "work-exchange"):
        self.delivery_tag, self.envelope, self.settled = tag, envelope, None
        self.delivery_info = {"exchange": exchange}

    def ack(self, multiple: bool = False) -> None:
        self.settled = "ack"

    def reject(self, requeue: bool = False) -> None:
        self.settled = "requeue" if requeue else "reject"


class Request:
    """An attempt as the line has it."""

    def __init__(self, consumer: JobConsumer, message: Message, job: Job | None = None):
        self.job = job or Job(pk=uuid.uuid4(), task=TASK, attempt=1)
        self.id, self.message, self.told = f"{self.job.pk}.{self.job.attempt}", message, []
        self.share = consumer._line.pace.share(self.job.task)

    def can_follow(self, other: Any) -> bool:
        return True

    def adopt(self, message: Message) -> None:
        self.message = message

    def on_taken_back(self) -> None:
        pass

    def tell(self, outcome: Outcome, reached: Any) -> None:
        self.told.append(reached)


class Database:
    """In place of ``hand_back``. What is in ``held`` stays where it is, and ``moved_on`` counts no more."""

    def __init__(self) -> None:
        self.asked: list[Attempt] = []
        self.whys: set[str] = set()
        self.held: set[Attempt] = set()
        self.moved_on: set[Attempt] = set()
        self.error: Exception | None = None

    def hand_back(self, attempts: Sequence[Attempt], worker: Any, *, why: str) -> HandedBack:
        assert worker == WORKER
        self.asked += attempts
        self.whys.add(why)
        if self.error:
            raise self.error
        gone = [Job(pk=id) for id, number in attempts if (id, number) not in self.held | self.moved_on]
        return HandedBack(gone, self.held & set(attempts))


@pytest.fixture
def database(monkeypatch) -> Database:
    database = Database()
    monkeypatch.setattr(room, "hand_back", database.hand_back)
    return database


@pytest.fixture
def consumer(monkeypatch):
    """A consumer without a worker around it."""
    monkeypatch.setattr(settling, "Recorder", Recorder)
    bare = JobConsumer.__new__(JobConsumer)
    bare._arrivals, bare._will_claim = Arrivals(), False
    bare._deliveries = Deliveries((), several_at_once=False)
    bare._foreign = Foreign(soon=bare._soon, later=bare._later, deliveries=lambda: bare._deliveries)
    bare._settling = Settling(soon=bare._while_running, deliveries=lambda: bare._deliveries)
    bare.started, bare.pool = [], SimpleNamespace(num_processes=2)
    bare._line = Line(
        start=bare.started.append,
        slots=bare._slots,
        soon=bare._soon,
        on_endings=bare._on_endings,
        on_free_slot=bare._on_free_slot,
    )
    bare._window, bare.initial_prefetch_count = Window(2), 2
    bare._looked_at, bare._reads_itself = time.monotonic(), False
    bare.event_dispatcher = None
    bare.hostname, bare.timer, bare.messages_arrived = "w@test", Timer(), 0
    bare.blueprint, bare.soon = SimpleNamespace(state=RUN), deque()
    bare.call_soon = lambda call, *arguments: bare.soon.append((call, arguments))
    shutdown = SimpleNamespace(asked=False, interrupts=False, seconds_left=0.0)
    marks = SimpleNamespace(note=lambda job: None)
    bare.controller = SimpleNamespace(
        worker_process=WORKER, shutdown=shutdown, max_concurrency=None, marks=marks, paused=frozenset()
    )
    bare.task_consumer = None
    bare.app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={})))
    monkeypatch.setattr(room, "connection", SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(room, "read_envelope", read)
    monkeypatch.setattr(JobConsumer, "_request", lambda self, job, payload, message: Request(self, message, job))
    yield bare
    for turn in bare._line._turns:
        turn.abandon()
    state.requests.clear()
    state.reserved_requests.clear()


def read(headers: Any, body: Any, content_type: Any, *, redelivered: bool) -> Envelope:
    envelope = arriving.pop()
    if isinstance(envelope, Exception):
        raise envelope
    return envelope


arriving: list[Any] = []


def envelope() -> Envelope:
    return Envelope(uuid.uuid4(), 1, TASK)


def arrive(consumer: JobConsumer, *what: Any, exchange: str = "work-exchange") -> list[Message]:
    messages = []
    for each in what:
        messages.append(Message(consumer.messages_arrived + 1, each, exchange))
        arriving.append(each)
        consumer._on_message(messages[-1])
    return messages


def turn_of_the_loop(consumer: JobConsumer) -> None:
    while consumer.soon:
        call, arguments = consumer.soon.popleft()
        call(*arguments)


@pytest.fixture
def asked(monkeypatch) -> list[Envelope]:
    """What the database was asked to claim; every claim succeeds."""
    asked: list[Envelope] = []

    def claim(envelopes, worker, *, in_hand):
        asked.extend(envelopes)
        return [Claim(Answer.RUN, Job(pk=each.job_id, task=each.task, attempt=1)) for each in envelopes]

    monkeypatch.setattr(room, "claim", claim)
    return asked


# Messages in


def test_what_has_arrived_meanwhile_is_claimed_together(consumer, monkeypatch):
    groups: list[int] = []

    def claim(envelopes, worker, *, in_hand):
        groups.append(len(envelopes))
        return [Claim(Answer.DROP)] * len(envelopes)

    monkeypatch.setattr(room, "claim", claim)
    consumer._line.pace.note(TASK, 0.0)
    messages = arrive(consumer, *(envelope() for _ in range(20)))
    assert len(consumer.soon) == 1
    turn_of_the_loop(consumer)
    assert groups == [20]
    assert {message.settled for message in messages} == {"ack"}


@pytest.mark.parametrize("error", [WrongMessage("unknown_message", "no task"), RecursionError()])
def test_a_message_that_no_job_can_be_made_of_is_dead_lettered(consumer, asked, error):
    (bad, good) = arrive(consumer, error, good_one := envelope())
    turn_of_the_loop(consumer)
    assert (bad.settled, good.settled, asked) == ("reject", None, [good_one])
    assert consumer.messages_arrived == 2


def test_a_message_that_can_not_be_decoded_is_dead_lettered(consumer):
    message = Message(1, envelope())
    consumer.on_decode_error(message, ValueError("garbage"))
    assert message.settled == "reject"


def test_of_a_new_connection_nothing_is_left_of_the_old_one(consumer, asked):
    consumer.connection = SimpleNamespace(transport=SimpleNamespace(driver_type="amqp"))
    consumer.connection_errors = (ConnectionError,)
    (old,) = arrive(consumer, envelope())
    consumer.create_task_handler()
    turn_of_the_loop(consumer)
    assert asked == []
    consumer._deliveries.acknowledge([old])
    assert old.settled is None
    assert consumer.timer.repeated == [consumer._look_around]


def test_a_queue_that_is_paused_is_not_consumed_by_a_new_connection(consumer, channel):
    consumer.connection = SimpleNamespace(transport=SimpleNamespace(driver_type="amqp"))
    consumer.connection_errors, consumer.controller.paused = (ConnectionError,), frozenset({"work-queue", "sms-queue"})
    channel.named = ["work-queue", "email-queue"]
    consumer.create_task_handler()
    assert channel.named == ["email-queue"]


def test_a_prefetch_count_of_0_is_taken_for_the_narrowest_window(consumer):
    """In AMQP it is the word for all there are."""
    consumer.connection = SimpleNamespace(transport=SimpleNamespace(driver_type="amqp"))
    consumer.connection_errors, consumer.initial_prefetch_count = (ConnectionError,), 0
    consumer.create_task_handler()
    assert consumer._window.size == 1


# Claims


def test_a_row_that_can_not_be_read_does_not_hold_up_the_others(consumer, monkeypatch):
    good, bad = envelope(), envelope()

    def claim(envelopes, worker, *, in_hand):
        if bad in envelopes:
            raise DataError("timestamp too large")
        return [Claim(Answer.RUN)] * len(envelopes)

    monkeypatch.setattr(room, "claim", claim)
    answers = [claimed.answer for claimed in consumer._claim([good, bad, good])]
    assert answers == [Answer.RUN, Answer.REJECT, Answer.RUN]


@pytest.mark.parametrize("outage", OUTAGE)
def test_an_outage_is_not_taken_for_a_bad_row(consumer, monkeypatch, outage):
    def claim(envelopes, worker, *, in_hand):
        raise outage("away")

    monkeypatch.setattr(room, "claim", claim)
    with pytest.raises(outage):
        consumer._claim([envelope(), envelope()])


@pytest.mark.parametrize("outage", [OperationalError("away"), ProgrammingError("no such column: tasks_job.new")])
def test_messages_wait_for_the_database_with_one_timer_however_many_there_are(consumer, monkeypatch, outage):
    """Be it that it is away, or that a migration has yet to come."""
    away, order = [True], []

    def claim(envelopes, worker, *, in_hand):
        if away[0]:
            raise outage
        order.extend(envelopes)
        return [Claim(Answer.DROP)] * len(envelopes)

    monkeypatch.setattr(room, "claim", claim)
    waiting, messages = [envelope() for _ in range(4)], []
    for each in waiting:
        messages += arrive(consumer, each)
        turn_of_the_loop(consumer)
    assert consumer.holds_messages
    for still_away in (True, False):
        (again,) = consumer.timer.later
        consumer.timer.later.clear()
        assert [message.settled for message in messages] == [None] * 4, "none is rejected"
        away[0] = still_away
        again()
        turn_of_the_loop(consumer)
    assert order == waiting
    assert (consumer.timer.later, consumer.holds_messages) == ([], False)
    assert [message.settled for message in messages] == ["ack"] * 4


def test_only_as_much_is_claimed_as_there_are_free_slots_the_urgent_first(consumer, asked):
    """Nobody knows yet how long the task takes."""
    plain, urgent = [envelope(), envelope()], [envelope(), envelope()]
    consumer.pool.num_processes = 0  # all arrive while nothing is free
    arrive(consumer, *plain)
    arrive(consumer, *urgent, exchange=PRIORITY_EXCHANGE)
    consumer.pool.num_processes = 3
    turn_of_the_loop(consumer)
    assert asked == [*reversed(urgent), plain[0]]
    assert len(consumer.started) == 3

    consumer.started[0]._on_return([DONE])
    turn_of_the_loop(consumer)
    assert asked[3:] == [plain[1]]


@pytest.mark.parametrize(("running", "claimed"), [(0, 3), (1, 2), (2, 1), (3, 0)])
def test_of_attempts_that_nobody_knows_only_as_many_are_claimed_as_slots_are_free_now(
    consumer, asked, running, claimed
):
    """Whatever room there is ahead of short turns."""
    consumer.pool.num_processes = 3
    consumer._line.pace.note("probe.short", 0.0)
    for _ in range(running):
        (message,) = arrive(consumer, envelope())
        consumer._line.join([Request(consumer, message, Job(pk=uuid.uuid4(), task="probe.short", attempt=1))])
    consumer._arrivals.drop()
    arrive(consumer, *(envelope() for _ in range(5)))
    turn_of_the_loop(consumer)
    assert len(asked) == claimed


def test_of_short_attempts_one_turn_is_claimed_ahead_for_each_slot(consumer, asked):
    consumer._line.pace.note(TASK, TURN_SECONDS / 4)
    arrive(consumer, *(envelope() for _ in range(50)))
    turn_of_the_loop(consumer)
    assert len(asked) == 16, "two turns run, two wait, of four attempts each"
    assert [len(turn.requests) for turn in consumer.started] == [4, 4]


def test_what_takes_long_is_not_claimed_ahead(consumer, asked):
    consumer._line.pace.note(TASK, 60.0)
    arrive(consumer, *(envelope() for _ in range(9)))
    turn_of_the_loop(consumer)
    assert (len(asked), len(consumer._arrivals)) == (2, 7)


def test_a_worker_that_is_stopping_claims_nothing(consumer, asked):
    consumer.controller.shutdown.asked = True
    arrive(consumer, envelope())
    turn_of_the_loop(consumer)
    assert (asked, consumer.holds_messages) == ([], True)


# Outcomes out


def ended(consumer: JobConsumer, outcome: Outcome) -> Request:
    """An attempt that was in hand and has just ended."""
    (message,) = arrive(consumer, envelope())
    consumer._arrivals.drop()
    request = Request(consumer, message)
    state.requests[request.id] = request
    consumer._on_endings([(request, outcome)])
    return request


@pytest.fixture
def running(consumer, monkeypatch) -> Request:
    """An attempt in hand. Every message from now on asks for it once more."""
    (message,) = arrive(consumer, envelope())
    consumer._arrivals.drop()
    request = Request(consumer, message)
    state.requests[request.id] = request
    monkeypatch.setattr(room, "claim", lambda envelopes, worker, *, in_hand: [Claim(Answer.DROP)] * len(envelopes))
    return request


def asking_for(request: Request) -> Envelope:
    return Envelope(request.job.pk, request.job.attempt, TASK)


@pytest.mark.parametrize("over", [False, True], ids=["it runs", "its outcome waits"])
@pytest.mark.parametrize(("reached", "settled"), [(JobState.SUCCEEDED, "ack"), (JobState.DEAD, "reject")])
def test_what_is_delivered_in_place_of_a_lost_message_is_settled_when_the_attempt_has_ended(
    consumer, running, over, reached, settled
):
    """Acknowledged before, it would be missing in the dead queue."""
    consumer._deliveries = Deliveries((), several_at_once=False)  # of a new connection
    if over:
        consumer._on_endings([(running, DONE)])
    (again,) = arrive(consumer, asking_for(running))
    turn_of_the_loop(consumer)
    assert (again.settled, running.message) == (None, again)
    if not over:
        consumer._on_endings([(running, DONE)])
    consumer._settling._recorder.commit(reached)
    turn_of_the_loop(consumer)
    assert again.settled == settled


def test_a_second_message_beside_the_one_in_hand_is_dropped_at_once(consumer, running):
    own = running.message
    (copy,) = arrive(consumer, asking_for(running))
    turn_of_the_loop(consumer)
    assert (copy.settled, own.settled, running.message) == ("ack", None, own)


def test_an_attempt_stays_in_hand_until_its_outcome_is_recorded(consumer):
    request = ended(consumer, DONE)
    assert (request.message.settled, consumer.in_hand(request.id)) == (None, True)
    assert (consumer.holds_outcomes, consumer.holds_outcome_of(request.id)) == (True, True)
    assert request.id not in state.requests
    consumer._settling._recorder.commit()
    assert (request.message.settled, consumer.in_hand(request.id)) == (None, False)
    assert (consumer.holds_outcomes, consumer.holds_outcome_of(request.id)) == (False, False)
    turn_of_the_loop(consumer)
    assert (request.message.settled, request.told) == ("ack", [JobState.SUCCEEDED])


@pytest.mark.parametrize(
    ("asked_to_stop", "interrupts", "handed_back", "kept"),
    [(False, False, 0, 2), (True, False, 1, 1), (True, True, 0, 1)],
    ids=["at work", "stopping", "killing its children"],
)
def test_a_child_that_is_lost_while_its_worker_stops_costs_no_attempt(
    consumer, database, asked_to_stop, interrupts, handed_back, kept
):
    consumer.controller.shutdown.asked, consumer.controller.shutdown.interrupts = asked_to_stop, interrupts
    ended(consumer, DONE)
    lost = ended(consumer, LOST)
    assert (len(database.asked), len(consumer._settling._recorder.kept)) == (handed_back, kept)
    assert lost.message.settled == ("ack" if handed_back else None)


def test_an_attempt_that_was_lost_while_its_worker_stops_is_in_hand_until_it_can_go(consumer, database):
    """Else it were taken for one that nobody knows of, and would cost its job an attempt after all."""
    database.error = OperationalError("away")
    consumer.controller.shutdown.asked = True
    lost = ended(consumer, LOST)
    assert (list(consumer._line.waiting), lost.message.settled) == ([lost], None)
    assert consumer.in_hand(lost.id)


def test_outcomes_are_settled_at_once_when_the_loop_has_ended(consumer):
    consumer.blueprint.state = CLOSE
    calls: list[int] = []
    consumer._soon(calls.append, 1)
    assert (calls, len(consumer.soon)) == ([1], 0)


def test_the_recorders_thread_settles_nothing_itself_when_the_loop_has_ended(consumer):
    """The connection is the main thread's, which settles what is left (stop and shutdown)."""
    request = ended(consumer, DONE)
    consumer.soon.clear()
    consumer.blueprint.state = CLOSE
    consumer._settling._recorder.commit()
    assert (request.message.settled, len(consumer.soon)) == (None, 0)
    consumer._settling.settle()
    assert request.message.settled == "ack"


# Looking around


class Channel:
    """Remembers in which order it was told what."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.value = 0
        self.named: list[str] = []

    @property
    def queues(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.named]

    def add_queue(self, queue: str) -> None:
        self.named.append(queue)
        self.told.append(f"add {queue}")

    def cancel_by_queue(self, name: str) -> None:
        self.named.remove(name) if name in self.named else None
        self.told.append(f"cancel {name}")

    def cancel(self) -> None:
        self.told.append("cancel")

    def update(self) -> None:
        self.told.append(self.value)

    def consume(self) -> None:
        self.told.append("consume")


@pytest.fixture
def channel(consumer) -> Channel:
    consumer.task_consumer = consumer.qos = Channel()
    return consumer.qos


def test_a_window_that_fits_is_left_alone(consumer, channel):
    consumer._look_around()
    consumer._line.pace.note(TASK, 60.0)
    consumer._look_around()
    assert channel.told == []


def test_the_broker_is_told_of_a_new_window_before_anything_is_consumed_with_it(consumer, channel):
    consumer._line.pace.note(TASK, 0.0)
    consumer._look_around()
    assert channel.told == ["cancel", consumer._window.size, "consume"]
    assert consumer._window.size > 100


def test_what_a_narrower_window_does_not_hold_goes_back_to_its_queue(consumer, channel):
    consumer._line.pace.note(TASK, 0.0)
    consumer._look_around()
    consumer.pool.num_processes = 0
    messages = arrive(consumer, *(envelope() for _ in range(5)))
    consumer._line.pace = Pace()
    consumer._line.pace.note(TASK, 60.0)
    consumer._look_around()
    assert [message.settled for message in messages] == [None, None, "requeue", "requeue", "requeue"]
    assert channel.told[3:] == ["cancel", 2, "consume"]


def test_what_waits_behind_something_long_is_run_by_another_slot(consumer, channel):
    consumer._line.pace.note(TASK, 0.0)
    consumer.pool.num_processes = 1
    requests = [Request(consumer, message) for message in arrive(consumer, envelope(), envelope())]
    consumer._line.join(requests)
    consumer.started[0]._since = time.monotonic() - STUCK_SECONDS
    consumer.pool.num_processes = 2
    consumer._look_around()
    assert [turn.requests for turn in consumer.started] == [[], requests]


@pytest.fixture
def stuck(consumer, monkeypatch) -> list[Request]:
    """Attempts of which two wait behind two others that take long."""
    requests = [Request(consumer, arrive(consumer, envelope())[0]) for _ in range(4)]
    consumer._arrivals.drop()
    for request in requests:
        state.task_reserved(request)
    consumer._line.join(requests)
    for turn in consumer.started:
        turn.accepted = True
        turn._since = time.monotonic() - STUCK_SECONDS - 1
    return requests


def attempts(requests: Sequence[Request]) -> list[Attempt]:
    return [(request.job.pk, request.job.attempt) for request in requests]


def in_hand(consumer: JobConsumer, requests: Sequence[Request]) -> list[bool]:
    return [consumer.in_hand(request.id) for request in requests]


def test_what_waits_where_every_slot_is_taken_for_long_is_given_to_another_worker(consumer, channel, stuck, database):
    consumer._look_around()
    assert database.asked == attempts(stuck[2:])
    assert [request.message.settled for request in stuck] == [None, None, "ack", "ack"]
    assert in_hand(consumer, stuck) == [True, True, False, False]


def test_a_look_that_comes_late_judges_nobody(consumer, channel, stuck, database):
    consumer._looked_at -= 10
    consumer._look_around()
    assert (list(consumer._line.waiting), database.asked) == (stuck[2:], [])


@pytest.mark.parametrize("outage", OUTAGE)
def test_with_the_database_away_what_should_be_given_away_waits_on(consumer, channel, stuck, database, outage):
    database.error = outage("away")
    consumer._look_around()
    assert list(consumer._line.waiting) == stuck[2:]
    assert [request.message.settled for request in stuck] == [None] * 4
    assert in_hand(consumer, stuck) == [True] * 4


def test_an_attempt_whose_row_is_held_stays_ours_and_waits_in_the_line(consumer, channel, stuck, database):
    database.held = set(attempts(stuck[3:]))
    consumer._look_around()
    assert list(consumer._line.waiting) == stuck[3:]
    assert [request.message.settled for request in stuck] == [None, None, "ack", None]
    assert in_hand(consumer, stuck) == [True, True, False, True]

    database.held.clear()
    consumer._look_around()
    assert database.asked == attempts([*stuck[2:], stuck[3]])
    assert ([*consumer._line.waiting], stuck[3].message.settled) == ([], "ack")


def test_what_has_moved_on_meanwhile_leaves_the_line_like_what_was_handed_back(consumer, channel, stuck, database):
    database.moved_on = set(attempts(stuck[2:3]))
    consumer._look_around()
    assert ([*consumer._line.waiting], in_hand(consumer, stuck)) == ([], [True, True, False, False])
    assert [request.message.settled for request in stuck] == [None, None, "ack", "ack"]


def test_whatever_goes_wrong_with_giving_away_no_attempt_is_forgotten(consumer, channel, stuck, database):
    database.error = RuntimeError("odd")
    with pytest.raises(RuntimeError, match="odd"):
        consumer._look_around()
    assert list(consumer._line.waiting) == stuck[2:]
    assert in_hand(consumer, stuck) == [True] * 4


# Pauses


@pytest.fixture
def two_queues(consumer, channel) -> Channel:
    """A consumer of two queues, whose task is short."""
    consumer.app.amqp.queues.consume_from = {"work-queue": "work-queue", "email-queue": "email-queue"}
    channel.named = ["work-queue", "email-queue"]
    consumer._line.pace.note(TASK, 0.0)
    consumer._window.fit(slots=2, share=consumer._line.largest_share())
    return channel


def pause(consumer: JobConsumer, *queues: str) -> None:
    consumer.controller.paused = frozenset(queues)


def test_a_paused_queue_is_let_go_and_taken_up_again_when_it_is_resumed(consumer, two_queues):
    for paused in ([], ["work-queue"], ["work-queue"], [], []):
        pause(consumer, *paused)
        consumer._look_around()
    assert two_queues.told == ["cancel work-queue", "add work-queue", "consume"]


def test_a_pause_of_all_that_a_worker_consumes_leaves_it_with_nothing_to_do(consumer, two_queues):
    pause(consumer, "work-queue", "email-queue", "sms-queue")
    consumer._look_around()
    assert two_queues.named == []
    pause(consumer)
    consumer._look_around()
    assert sorted(two_queues.named) == ["email-queue", "work-queue"]


def test_what_somebody_took_from_the_worker_by_remote_control_stays_taken(consumer, two_queues):
    two_queues.named.remove("email-queue")
    del consumer.app.amqp.queues.consume_from["email-queue"]
    for paused in (["email-queue"], []):
        pause(consumer, *paused)
        consumer._look_around()
    assert two_queues.told == []


def test_unclaimed_messages_of_a_paused_queue_go_back_in_their_order_and_others_stay(consumer, two_queues, monkeypatch):
    consumer.pool.num_processes = 0
    work = arrive(consumer, envelope(), envelope())
    (mail,) = arrive(consumer, envelope(), exchange="email-exchange")
    (for_all,) = arrive(consumer, envelope(), exchange="notification-exchange")
    returned: list[int] = []
    monkeypatch.setattr(Message, "reject", lambda self, requeue: returned.append(self.delivery_tag if requeue else 0))
    pause(consumer, "work-queue")
    consumer._look_around()
    assert returned == [message.delivery_tag for message in work]
    pause(consumer, "work-queue", "email-queue")
    consumer._look_around()
    assert returned[2:] == [mail.delivery_tag, for_all.delivery_tag]


def test_nothing_of_a_paused_queue_is_claimed_even_before_the_next_look(consumer, two_queues, asked):
    messages = arrive(consumer, envelope(), mail := envelope(), exchange="work-exchange")
    messages[1].delivery_info = {"exchange": "email-exchange"}
    pause(consumer, "work-queue")
    turn_of_the_loop(consumer)
    assert (asked, [message.settled for message in messages]) == ([mail], ["requeue", None])


@pytest.fixture
def of_two_queues(consumer, two_queues) -> list[Request]:
    """One slot: the first runs, the next two would follow, the last two wait. Every other one is an e-mail's."""
    consumer.pool.num_processes = 1
    consumer._line.pace.note(TASK, TURN_SECONDS / 3)
    consumer._line.pace._seconds[TASK] = TURN_SECONDS / 3
    requests = [Request(consumer, message) for message in arrive(consumer, *(envelope() for _ in range(5)))]
    consumer._arrivals.drop()
    for request, queue in zip(requests, ["work-queue", "email-queue"] * 3, strict=False):
        request.job.queue = queue
        state.task_reserved(request)
    consumer._line.join(requests)
    (turn,) = consumer.started
    assert turn.requests == requests[:3]
    began(turn, 1)
    return requests


def test_claimed_attempts_of_a_paused_queue_that_have_not_begun_are_handed_back(consumer, of_two_queues, database):
    first, second, third, fourth, fifth = of_two_queues
    pause(consumer, "work-queue")
    consumer._look_around()
    assert database.asked == attempts([third, fifth])
    assert database.whys == {room.PAUSED}
    assert consumer.started[0].requests == [first], "what runs is not touched"
    assert list(consumer._line.waiting) == [second, fourth]
    assert in_hand(consumer, of_two_queues) == [True, True, False, True, False]


def test_nothing_is_handed_back_twice_nor_for_queues_that_go_on(consumer, of_two_queues, database):
    pause(consumer, "sms-queue")
    consumer._look_around()
    assert database.asked == []
    pause(consumer, "work-queue")
    for _ in range(3):
        consumer._look_around()
    assert len(database.asked) == 2


@pytest.mark.parametrize("why", ["stopping", "loop has ended", "not connected"])
def test_a_consumer_that_is_no_more_heeds_no_pause(consumer, two_queues, why):
    pause(consumer, "work-queue")
    if why == "stopping":
        consumer.controller.shutdown.asked = True
    elif why == "loop has ended":
        consumer.blueprint.state = CLOSE
    else:
        consumer.task_consumer = None
    consumer._heed_pauses()
    assert two_queues.told == []


# Ends


@pytest.fixture
def stopped(consumer, monkeypatch) -> list[str]:
    """What Celery's own part of an end has done. The loop has ended once it has stopped."""
    told: list[str] = []

    def stop(self: Any) -> None:
        told.append("stop")
        self.blueprint.state = CLOSE

    monkeypatch.setattr(room.Consumer, "stop", stop)
    monkeypatch.setattr(room.Consumer, "on_close", lambda self: told.append("on_close"))
    return told


def test_a_stopping_worker_gives_back_what_it_has_not_claimed(consumer, stopped):
    messages = arrive(consumer, envelope(), envelope())
    consumer.stop()
    assert [message.settled for message in messages] == ["requeue", "requeue"]
    assert (consumer.holds_messages, stopped) == (False, ["stop"])


def began(turn: Turn, count: int) -> None:
    """As the turn's child says."""
    turn._page.begin(count)
    for _ in range(count - 1):
        assert turn._page.keep(DONE)


@pytest.fixture
def half_way(consumer) -> list[Request]:
    """Attempts in hand: one has ended, the second runs, the third would follow, and the fourth waits."""
    consumer.pool.num_processes = 1
    consumer._line.pace.note(TASK, TURN_SECONDS / 3)
    requests = [Request(consumer, message) for message in arrive(consumer, *(envelope() for _ in range(4)))]
    consumer._arrivals.drop()
    for request in requests:
        state.task_reserved(request)
    consumer._line.join(requests)
    (turn,) = consumer.started
    assert turn.requests == requests[:3]
    began(turn, 2)
    return requests


def test_a_stopping_worker_gives_away_what_has_not_begun(consumer, half_way, stopped, database):
    """And not only when the pool has drained, which may take as long as the grace."""
    consumer.controller.shutdown.asked = True
    consumer.stop()
    assert database.asked == attempts(half_way[2:])
    assert database.whys == {room.STOPPED}
    assert [request.message.settled for request in half_way] == [None, None, "ack", "ack"]
    assert [request.id for request, _ in consumer._settling._recorder.kept] == [half_way[0].id]
    assert in_hand(consumer, half_way) == [True, True, False, False]
    assert len(consumer.started) == 1


def test_a_consumer_that_stops_and_whose_worker_goes_on_gives_no_attempt_away(consumer, half_way, stopped, database):
    consumer.stop()
    assert (database.asked, in_hand(consumer, half_way)) == ([], [True] * 4)


def test_what_a_stopping_worker_could_not_give_away_is_tried_again_when_a_turn_ends(
    consumer, half_way, stopped, database
):
    consumer.controller.shutdown.asked = True
    database.held = set(attempts(half_way[3:]))
    consumer.stop()
    assert list(consumer._line.waiting) == half_way[3:]

    database.held.clear()
    consumer.started[0]._on_return([DONE, DONE])

    assert database.asked[2:] == attempts(half_way[3:])
    assert ([*consumer._line.waiting], half_way[3].message.settled) == ([], "ack")
    assert len(consumer.started) == 1, "a worker that is stopping begins nothing"


def test_a_worker_at_work_gives_nothing_away_when_a_turn_ends(consumer, half_way, database):
    consumer.started[0]._on_return([DONE, DONE])
    turn_of_the_loop(consumer)
    assert (database.asked, consumer.started[1].requests) == ([], half_way[2:])


def test_what_killed_children_have_left_behind_is_kept(consumer, half_way):
    consumer.controller.shutdown.asked = consumer.controller.shutdown.interrupts = True
    consumer.salvage()
    assert [(request.id, outcome) for request, outcome in consumer._settling._recorder.kept] == [(half_way[0].id, DONE)]
    consumer.started[0]._on_return([DONE])
    assert len(consumer._settling._recorder.kept) == 1, "and told once"


def test_the_connection_is_closed_after_the_last_outcome(consumer, monkeypatch):
    request = ended(consumer, DONE)
    closed: list[str | None] = []
    monkeypatch.setattr(room.Consumer, "shutdown", lambda self: closed.append(request.message.settled))
    consumer.controller.shutdown.asked, consumer.controller.shutdown.seconds_left = True, 4.5
    consumer.blueprint.state = CLOSE
    consumer.shutdown()
    assert closed == ["ack"]
    assert consumer._settling._recorder.flushed == [4.5]


def test_what_no_child_had_begun_when_the_connection_broke_is_handed_back(consumer, stuck, stopped, database):
    consumer.started[1].accepted = False
    consumer.on_close()
    assert database.asked == attempts(stuck[1:])
    assert stopped == ["on_close"]


def test_an_attempt_whose_row_is_held_when_the_connection_breaks_is_run_by_nobody_else(
    consumer, stuck, stopped, database, monkeypatch
):
    """Celery forgets what no child has begun. Its message comes again, and would be claimed as a second one."""
    monkeypatch.setattr(room.Consumer, "on_close", lambda self: state.requests.clear())
    consumer.started[1].accepted = False
    database.held = set(attempts(stuck[1:2]))
    consumer.on_close()
    assert in_hand(consumer, stuck[1:]) == [True, False, False]
    assert consumer.started[2].requests == stuck[1:2], "it has a slot again"
