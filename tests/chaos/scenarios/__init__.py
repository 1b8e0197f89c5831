"""The book of faults, a chapter for each thing that can break."""

from tests.chaos.scenario import SCENARIOS
from tests.chaos.scenarios import broker, clock, cluster, connections, database, messages, soak, web, workers

__all__ = ["SCENARIOS", "broker", "clock", "cluster", "connections", "database", "messages", "soak", "web", "workers"]
