"""The book of faults, in the order in which it is told."""

from tests.chaos.scenario import SCENARIOS
from tests.chaos.scenarios import workers

__all__ = ["SCENARIOS", "workers"]
