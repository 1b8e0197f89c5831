"""manage.py topology show|check|apply"""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tasks import brokers
from tasks.brokers import TopologyMismatch
from tasks.errors import BrokerUnavailable
from tasks.topology import DEAD_LETTER_EXCHANGE, TOPOLOGY, UNROUTED_EXCHANGE, UNROUTED_QUEUE


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
        leads_to = {queue.exchange: [queue] for queue in TOPOLOGY.queues}
        leads_to |= {name: [TOPOLOGY.queue(queue) for queue in queues] for name, queues in TOPOLOGY.fanouts.items()}
        rows: list[dict[str, Any]] = [
            {
                "exchange": exchange.name,
                "type": exchange.type,
                "routing_key": queues[0].routing_key if exchange.type == "direct" and queues else "",
                "queues": [queue.name for queue in queues],
                "dead": queues[0].dead_name if exchange.type == "direct" and queues else "",
            }
            for exchange in TOPOLOGY.exchanges
            for queues in [leads_to.get(exchange.name, [])]
        ]
        keepers = {
            DEAD_LETTER_EXCHANGE: [queue.dead_name for queue in TOPOLOGY.queues],
            UNROUTED_EXCHANGE: [UNROUTED_QUEUE],
        }
        for row in rows:
            row["queues"] = keepers.get(row["exchange"], row["queues"])
        if as_json:
            self.stdout.write(json.dumps(rows, indent=2))
            return
        self._line("exchange", "type", "routing key", "queue", "dead letters")
        for row in rows:
            queues = "each queue's .dead" if row["exchange"] == DEAD_LETTER_EXCHANGE else ", ".join(row["queues"])
            self._line(row["exchange"], row["type"], row["routing_key"], queues, row["dead"])

    def _line(self, exchange: str, type: str, routing_key: str, queues: str, dead: str) -> None:
        self.stdout.write(f"{exchange:<24}{type:<8}{routing_key:<20}{queues:<34}{dead}".rstrip())

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
