"""`table`: the same drain where millions of jobs have been done before."""

from tests.bench import field, filled
from tests.bench.contests.drain import Drain, drain
from tests.bench.field import Contestant
from tests.bench.figures import Sample


class Table(Drain):
    name = "table"
    title = "Drain with a full table"
    method = (
        "As `drain`, on empty tables and on tables that hold 10 million finished jobs with their histories and attempt "
        "records (17 GB, made once and kept under var/bench). The quick form makes do with 1 million."
    )
    quick_rounds = 1
    everybody = (field.OURS, field.ours_with(10_000_000))
    in_targets = (field.OURS, field.ours_with(1_000_000))

    def measure(self, contestant: Contestant) -> Sample:
        if contestant.finished_jobs and not self.stage.has_kept(contestant):
            with self.stage.keeping(contestant) as home:
                drain(home, contestant, 1)
                filled.fill(home, contestant.finished_jobs)
        return super().measure(contestant)
