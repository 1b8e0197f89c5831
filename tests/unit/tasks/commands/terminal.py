"""`manage.py dead_letters` and `manage.py jobs`, as somebody types them."""

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


def run(*arguments: Any, command: str = "dead_letters") -> Outcome:
    out = StringIO()
    try:
        call_command(command, *map(str, arguments), stdout=out)
    except CommandError as error:
        return Outcome(error.returncode, out.getvalue(), str(error))
    return Outcome(0, out.getvalue(), "")
