"""What is measured: one file a family of contests. `ALL` is the order of a full run."""

from tests.bench.contests.base import Contest
from tests.bench.contests.drain import Drain

ALL: dict[str, type[Contest]] = {contest.name: contest for contest in (Drain,)}
