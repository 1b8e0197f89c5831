"""manage.py dead_letters show"""

import json
from argparse import ArgumentParser
from typing import Any

from tasks.management.dead_letters.action import Action, Answer, as_dict, letter_id
from tasks.models import DeadLetter


class Show(Action):
    help = "one letter, with its cause and what the broker knew of its message"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=letter_id)

    def run(self, options: dict[str, Any]) -> Answer:
        letter = DeadLetter.objects.get(pk=options["id"])
        told = as_dict(letter) | {
            "error": letter.error,
            "error_type": letter.error_type,
            "replayed_at": letter.replayed_at.isoformat() if letter.replayed_at else None,
            "replayed_by": letter.replayed_by,
            "exchange": letter.exchange,
            "routing_key": letter.routing_key,
            "headers": letter.headers,
            "properties": letter.properties,
            "evidence": letter.evidence,
            "body_bytes": len(letter.body) if letter.body is not None else None,
            "traceback": letter.traceback,
        }
        lines = [f"{name.replace('_', ' '):<12} {_shown(value)}" for name, value in told.items() if _says(value)]
        return Answer(told, lines)


def _says(value: Any) -> bool:
    return value not in (None, "", {}, [])


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.rstrip().replace("\n", "\n" + " " * 13)
