"""manage.py bridge kafka|sqs"""

import json
import signal
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tasks.errors import TaskPlatformError


class Command(BaseCommand):
    help = (
        "Turn the messages of another system into jobs, until SIGTERM or Ctrl-C. Any number may run. Exit 1 when it "
        "can not begin, or --status finds more waiting than --most; 2 when the system can not be asked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        systems = parser.add_subparsers(dest="system", required=True)
        kafka = systems.add_parser("kafka", help="the topics of KAFKA_TOPICS, as a member of KAFKA_GROUP")
        kafka.add_argument("--status", action="store_true", help="print how many records wait, and end")
        kafka.add_argument("--most", type=int, default=None, metavar="N", help="with --status: exit 1 when more wait")
        kafka.add_argument("--json", action="store_true", dest="as_json", help="with --status: print JSON for scripts")

        sqs = systems.add_parser("sqs", help="a queue of Amazon SQS that foreign producers send envelopes to")
        sqs.add_argument("queue", help="its URL, or its name")

    def handle(self, *, system: str, **options: Any) -> None:
        try:
            getattr(self, f"_{system}")(**options)
        except TaskPlatformError as error:
            raise CommandError(str(error)) from error

    def _kafka(self, *, status: bool, most: int | None, as_json: bool, **_: Any) -> None:
        from tasks.ingress.kafka import bridge, client

        library = client.kafka()
        try:
            if status:
                self._tell(bridge.lag(), most, as_json=as_json)
            else:
                bridge.run(keep_going=_until_signalled())
        except library.KafkaException as error:
            raise CommandError(f"Kafka: {error}", returncode=2) from error

    def _sqs(self, *, queue: str, **_: Any) -> None:
        from tasks.ingress import sqs

        sqs.run(queue, keep_going=_until_signalled())

    def _tell(self, waiting: dict[str, int], most: int | None, *, as_json: bool) -> None:
        total = sum(waiting.values())
        if as_json:
            self.stdout.write(json.dumps({"total": total, "waiting": waiting}))
        else:
            self.stdout.write("".join(f"{place}\t{count}\n" for place, count in waiting.items()) + f"total\t{total}")
        if most is not None and total > most:
            raise CommandError(f"{total:,} records wait, and at most {most:,} were to")


class _Signalled:
    """False once the process was asked to end."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def __call__(self) -> bool:
        return not self._asked


def _until_signalled() -> _Signalled:
    return _Signalled()
