"""manage.py topology show|check|apply|export|compatible"""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, InterfaceError

from tasks import brokers, compatibility
from tasks.brokers import TopologyMismatch
from tasks.brokers.exports import FORMATS
from tasks.compatibility import Outstanding
from tasks.errors import BrokerUnavailable
from tasks.states import JobState
from tasks.topology import DEAD_LETTER_EXCHANGE, TOPOLOGY, UNROUTED_EXCHANGE, UNROUTED_QUEUE


class Command(BaseCommand):
    help = (
        "Show the declared exchanges and queues, compare them with the broker's (exit 1 on drift), or declare them. "
        "`export` prints them for other tools: RabbitMQ's definitions, a template of CloudFormation, topics of Kafka. "
        "`compatible` compares the tasks, schemas and queues of this build with the outstanding work in the database, "
        "for a deploy to wait for: exit 1 with the list of what this build could not run, 2 when nobody can tell."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["show", "check", "apply", "export", "compatible"])
        parser.add_argument("--format", choices=sorted(FORMATS), help="of export; by default that of BROKER_URL")
        parser.add_argument("--json", action="store_true", help="print JSON for scripts")

    def handle(self, *, action: str, json: bool, format: str | None = None, **_: Any) -> None:
        if action == "export":
            return self._export(format or ("cloudformation" if brokers.scheme() == "sqs" else "rabbitmq"))
        try:
            actions = {"show": self._show, "check": self._check, "apply": self._apply, "compatible": self._compatible}
            actions[action](as_json=json)
        except BrokerUnavailable as error:
            raise CommandError(f"{error}. Is the broker running, and BROKER_URL right?", returncode=2) from error

    def _export(self, format: str) -> None:
        self.stdout.write(json.dumps(FORMATS[format](), indent=2))

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

    def _compatible(self, *, as_json: bool) -> None:
        try:
            report = compatibility.examine()
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(f"the database can not be read: {str(error).strip()}", returncode=2) from error
        found = report.findings
        if as_json:
            findings = [
                {
                    "task": finding.task,
                    "problem": finding.problem.value,
                    "what": finding.what,
                    "remedy": finding.remedy,
                    "count": finding.count,
                    "first": [_as_dict(item) for item in finding.first],
                }
                for finding in found
            ]
            told = {"compatible": not found, "jobs": report.jobs, "letters": report.letters, "findings": findings}
            self.stdout.write(json.dumps(told, indent=2, default=str))
        else:
            for finding in found:
                self.stdout.write(f"{finding.task or 'several tasks'}: {finding.what} ({finding.count:,})")
                for item in finding.first:
                    self.stdout.write(f"  {_in_words(item)}")
                if finding.count > len(finding.first):
                    self.stdout.write(f"  … and {finding.count - len(finding.first):,} more")
                self.stdout.write(f"  → {finding.remedy}")
        looked_at = f"{_count(report.jobs, 'job')} and {_count(report.letters, 'open dead letter')}"
        if found:
            stuck = sum(finding.count for finding in found)
            raise CommandError(
                f"this build does not fit what is outstanding: {_count(stuck, 'problem')} in {looked_at}"
            )
        if not as_json:
            self.stdout.write(f"This build can run all that is outstanding: {looked_at}.")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _as_dict(item: Outstanding) -> dict[str, Any]:
    due_at = item.due_at.isoformat() if item.due_at else None
    return {"job": item.job, "letter": item.letter, "state": item.state, "due_at": due_at}


def _in_words(item: Outstanding) -> str:
    what = f"job {item.job}" if item.job else f"letter {item.letter}"
    if item.due_at:
        return f"{what}  {item.state}, due {item.due_at:%Y-%m-%d %H:%M:%S} UTC"
    due = {JobState.DEAD: "due when it is replayed", "parked": "due when it is restored"}
    return f"{what}  {item.state}, {due.get(item.state, 'due now')}"
