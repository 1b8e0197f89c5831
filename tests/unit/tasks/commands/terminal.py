"""`manage.py dead_letters`, as somebody types it."""

import json
from io import StringIO
from typing import Any, NamedTuple

from django.core.management import CommandError, call_command


class Outcome(NamedTuple):
    code: int
    printed: str
    complaint: str

    @property
    def data(self) -> Any:
        return json.loads(self.printed)


def run(*arguments: Any) -> Outcome:
    out = StringIO()
    try:
        call_command("dead_letters", *map(str, arguments), stdout=out)
    except CommandError as error:
        return Outcome(error.returncode, out.getvalue(), str(error))
    return Outcome(0, out.getvalue(), "")
