"""manage.py topology show|check|apply"""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tasks import brokers
from tasks.brokers import TopologyMismatch
from tasks.errors import BrokerUnavailable
from tasks.topology import TOPOLOGY, UNROUTED_EXCHANGE, UNROUTED_QUEUE


class Command(BaseCommand):
    help = "Show the declared exchanges and queues, compare them with the broker's (exit 1 on drift), or declare them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["show", "check", "apply"])
        parser.add_argument("--json", action="store_true", help="print JSON for scripts")

    def handle(self, *, action: str, json: bool, **_: Any) -> None:
        try:
            {"show": self._show, "check": self._check, "apply": self._apply}[action](as_json=json)
        except BrokerUnavailable as error:
            raise CommandError(f"{error}. Is the broker running, and BROKER_URL right?", returncode=2) from error

    def _show(self, *, as_json: bool) -> None:
        rows = [
            {"exchange": queue.exchange, "type": "direct", "routing_key": queue.routing_key, "queues": [queue.name],
             "dead": queue.dead_name}
            for queue in TOPOLOGY.queues
        ]  # fmt: skip
        rows += [
            {"exchange": name, "type": "fanout", "routing_key": "", "queues": list(queues), "dead": ""}
            for name, queues in TOPOLOGY.fanouts.items()
        ]
        rows.append({"exchange": "job-events", "type": "topic", "routing_key": "job.<state>.<task>", "queues": [], "dead": ""})
        rows.append({"exchange": UNROUTED_EXCHANGE, "type": "fanout", "routing_key": "", "queues": [UNROUTED_QUEUE], "dead": ""})
        if as_json:
            self.stdout.write(json.dumps(rows, indent=2))
            return
        self.stdout.write(f"{'exchange':<24}{'type':<8}{'routing key':<20}{'queue':<34}dead letters")
        for row in rows:
            self.stdout.write(
                f"{row['exchange']:<24}{row['type']:<8}{row['routing_key']:<20}{', '.join(row['queues']):<34}{row['dead']}"
            )

    def _check(self, *, as_json: bool) -> None:
        broker = brokers.connect()
        try:
            drift = broker.check_topology()
        finally:
            broker.close()
        if as_json:
            self.stdout.write(json.dumps({"drift": drift}, indent=2))
        else:
            for line in drift:
                self.stdout.write(line)
        if drift:
            raise CommandError(f"{len(drift)} differences; `manage.py topology apply` declares what is missing")
        if not as_json:
            self.stdout.write("The broker holds what is declared.")

    def _apply(self, *, as_json: bool) -> None:
        broker = brokers.connect()
        try:
            notes = broker.apply_topology()
        except TopologyMismatch as error:
            raise CommandError(
                f"the broker holds other declarations: {error}. Drain and delete what differs, then apply again"
            ) from None
        finally:
            broker.close()
        if as_json:
            self.stdout.write(json.dumps({"notes": notes}, indent=2))
            return
        for note in notes:
            self.stdout.write(f"note: {note}")
        self.stdout.write(f"{len(TOPOLOGY.exchanges)} exchanges and {len(TOPOLOGY.queues)} queues are in place.")
