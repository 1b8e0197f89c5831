"""What is measured: one file a family of contests. `ALL` is the order of a full run."""

from tests.bench.contests.base import Contest
from tests.bench.contests.drain import Drain
from tests.bench.contests.http import Http, HttpBatch
from tests.bench.contests.latency import Latency
from tests.bench.contests.memory import Memory
from tests.bench.contests.producing import Batch, Enqueue
from tests.bench.contests.table import Table

ALL: dict[str, type[Contest]] = {
    contest.name: contest for contest in (Drain, Enqueue, Batch, Latency, Http, HttpBatch, Table, Memory)
}
