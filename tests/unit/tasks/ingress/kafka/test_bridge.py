"""What the bridge does with records, offsets and trouble, against a group member that remembers what it was told."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from django.db import OperationalError

from tasks.errors import KeyInUse
from tasks.ingress.accepting import Accepted
from tasks.ingress.kafka import bridge as room
from tasks.ingress.kafka.bridge import Bridge
from tasks.ingress.kafka.records import arrival_of, dead_record
from tasks.worker.envelope import WrongMessage


class Record:
    def __init__(self, offset: int, partition: int = 0, value: bytes | None = b"{}", **values: Any):
        self._values = {"offset": offset, "partition": partition, "value": value, "topic": "emails", "error": None}
        self._values |= {"key": None, "headers": None, "timestamp": (1, 1_760_000_000_000), **values}

    def __getattr__(self, name: str) -> Any:
        return lambda: self._values[name]


class Member:
    """In place of a consumer."""

    def __init__(self, *batches: list[Record]):
        self.batches = list(batches)
        self.did: list[Any] = []
        self.assigned = [TopicPartition("emails", 0), TopicPartition("emails", 1)]
        self.trouble: Exception | None = None

    def consume(self, most: int, seconds: float) -> list[Record]:
        return self.batches.pop(0) if self.batches else []

    def commit(self, *, offsets: Any, asynchronous: bool) -> None:
        assert not asynchronous
        if self.trouble:
            raise self.trouble
        self.did.append(("commit", {(each.partition, each.offset) for each in offsets}))

    def seek(self, place: TopicPartition) -> None:
        self.did.append(("seek", place.partition, place.offset))

    def assignment(self) -> list[TopicPartition]:
        return self.assigned

    def pause(self, partitions: Any) -> None:
        self.did.append("pause")

    def resume(self, partitions: Any) -> None:
        self.did.append("resume")

    def poll(self, seconds: float) -> Record | None:
        return self.batches.pop(0)[0] if self.batches else None


class Producer:
    def __init__(self, left: int = 0, error: str = ""):
        self.produced: list[dict[str, Any]] = []
        self.left, self.error = left, error

    def produce(self, *, on_delivery: Any, **record: Any) -> None:
        self.produced.append(record)
        on_delivery(self.error, None)

    def flush(self, seconds: float) -> int:
        return self.left


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(room, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(room, "connection", SimpleNamespace(close=lambda: None))


@pytest.fixture
def accepts(monkeypatch):
    """``accepts(answer)``: what becomes of arrivals; an exception is raised."""

    def choose(*answers: Any) -> None:
        queue = list(answers)

        def accept(arrivals):
            answer = queue.pop(0) if len(queue) > 1 else queue[0]
            if isinstance(answer, Exception):
                raise answer
            return [answer or Accepted() for _ in arrivals]

        monkeypatch.setattr(room, "accept", accept)

    return choose


WRONG = Accepted(problem=WrongMessage("undecodable", "body is not JSON"))


def test_offsets_move_once_the_rows_are_there(accepts):
    accepts(None)
    member = Member([Record(5), Record(6), Record(2, partition=1)])
    bridge = Bridge(member, Producer, ["emails"])
    bridge.turn()
    assert member.did == [("commit", {(0, 7), (1, 3)})]
    assert bridge.accepted == 3


@pytest.mark.parametrize("trouble", [OperationalError("gone"), KeyInUse("k")])
def test_without_the_rows_no_offset_moves_and_the_records_are_read_again(accepts, trouble):
    accepts(trouble, None)
    member = Member([Record(5), Record(6), Record(2, partition=1)])
    Bridge(member, Producer, ["emails"]).turn()
    assert member.did == [("seek", 0, 5), ("seek", 1, 2), "pause", "resume"]


def test_a_partition_that_has_gone_is_neither_sought_nor_put_back(accepts):
    accepts(OperationalError("gone"))
    member = Member([Record(5), Record(2, partition=1)])
    member.assigned = [TopicPartition("emails", 1)]
    Bridge(member, Producer, ["emails"]).turn()
    assert [each for each in member.did if each[0] == "seek"] == [("seek", 1, 2)]


def test_what_comes_of_a_new_partition_during_a_pause_is_not_lost(accepts):
    accepts(OperationalError("gone"))
    member = Member([Record(5)], [Record(9, partition=1)])
    Bridge(member, Producer, ["emails"]).turn()
    assert ("seek", 1, 9) in member.did


def test_a_wrong_record_is_in_its_dead_letter_topic_before_the_offset_moves(accepts):
    accepts(WRONG)
    member, producer = Member([Record(5, key=b"k", value=b"x", headers=[("a", b"1")])]), Producer()
    Bridge(member, lambda: producer, ["emails"]).turn()
    (dead,) = producer.produced
    assert (dead["topic"], dead["key"], dead["value"]) == ("emails.dead", b"k", b"x")
    headers = dict(dead["headers"])
    assert (headers["a"], headers["x-death-reason"], headers["x-death-offset"]) == (b"1", b"undecodable", b"5")
    assert member.did == [("commit", {(0, 6)})]


@pytest.mark.parametrize("producer", [Producer(left=1), Producer(error="too large")])
def test_a_dead_record_that_does_not_arrive_keeps_the_offset(accepts, producer):
    accepts(WRONG)
    member = Member([Record(5)])
    Bridge(member, lambda: producer, ["emails"]).turn()
    assert ("seek", 0, 5) in member.did
    assert not [each for each in member.did if each[0] == "commit"]


def test_a_commit_that_is_refused_is_no_end(accepts):
    accepts(None)
    member = Member([Record(5)])
    member.trouble = KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
    Bridge(member, Producer, ["emails"]).turn()
    assert member.did == []


def test_an_error_among_the_records_is_passed_over_and_a_fatal_one_is_not(accepts):
    accepts(None)
    passing = SimpleNamespace(error=lambda: KafkaError(KafkaError._ALL_BROKERS_DOWN))
    member = Member([passing, Record(5)])
    Bridge(member, Producer, ["emails"]).turn()
    assert member.did == [("commit", {(0, 6)})]
    fatal = SimpleNamespace(error=lambda: KafkaError(KafkaError._FATAL, "fenced", True))
    with pytest.raises(KafkaException):
        Bridge(Member([fatal]), Producer, ["emails"]).turn()


# Records.


def test_a_record_is_an_arrival_with_its_place_as_its_key():
    headers = [("idempotency-key", b"i-1"), ("trace", b"\xff")]
    arrival = arrival_of(Record(7, key=b"customer-1", value=b"{}", headers=headers))
    assert (arrival.source, arrival.place, arrival.key) == ("kafka", "emails", "kafka:emails:0:7")
    assert arrival.properties["idempotency_key"] == "i-1"
    assert arrival.properties["ordering_key"] == "customer-1"
    assert arrival.headers["trace"] == "\\xff"
    json.dumps(dict(arrival.headers))


def test_a_tombstone_is_an_empty_body():
    assert arrival_of(Record(1, value=None)).body == b""


@pytest.mark.parametrize("milliseconds", [2**62, -(2**62)])
def test_a_clock_from_beyond_the_calendar_is_left_to_the_envelope(milliseconds):
    assert arrival_of(Record(1, timestamp=(1, milliseconds))).properties["timestamp"] == milliseconds


def test_a_record_that_died_twice_names_its_latest_death_only():
    again = Record(1, headers=[("x-death-reason", b"old"), ("a", b"1")])
    headers = dead_record(again, WrongMessage("undecodable", "no"))["headers"]
    assert [value for name, value in headers if name == "x-death-reason"] == [b"undecodable"]
