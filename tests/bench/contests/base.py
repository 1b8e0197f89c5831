"""What every contest has: a field, and a way to measure one contestant once."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from tests.bench.field import Contestant
from tests.bench.figures import Sample
from tests.bench.stage import Stage


class Contest(ABC):
    """Made anew for each run. ``quick``: the short form, with the contestants that the targets name."""

    name: ClassVar[str]
    title: ClassVar[str]
    method: ClassVar[str]  # for docs/performance.md
    everybody: ClassVar[Sequence[Contestant]]
    in_targets: ClassVar[Sequence[Contestant]]
    rounds: ClassVar[int] = 5
    quick_rounds: ClassVar[int] = 1

    def __init__(self, stage: Stage, *, quick: bool):
        self.stage = stage
        self.quick = quick

    @property
    def field(self) -> Sequence[Contestant]:
        return self.in_targets if self.quick else self.everybody

    @abstractmethod
    def measure(self, contestant: Contestant) -> Sample:
        """One run. Failed with the reason where there is no figure to give."""
