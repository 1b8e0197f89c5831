"""What the recovery desk's reads cost with many dead letters: `python -m tests.bench.recovery_desk [letters]`.

In a database of its own beside DATABASE_URL's, which is dropped again. Milliseconds: median and worst of ROUNDS, after
one that is not counted.
"""

import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import django

ROUNDS = 9
PAGE = 50
TASKS = [f"shop.task_{number}" for number in range(20)]
TYPES = ["ReadTimeout", "SMTPServerDisconnected", "ValueError", "IntegrityError", "LookupError"]
STEPS = [f"step{chr(97 + number // 10)}{chr(97 + number % 10)}" for number in range(100)]
TRACEBACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/shop/orders/step_{number}.py", line 7, in run\n    do(x)\n' for number in range(30)
)


def fill(letters: int) -> None:
    """Two fifths in one group, the rest over a hundred; over a week, most of them open."""
    from django.utils import timezone

    from tasks.dead_letters import grouping
    from tasks.models import DeadLetter

    dice, now = random.Random(7), timezone.now()
    for begin in range(0, letters, 2000):
        rows = []
        for number in range(begin, min(begin + 2000, letters)):
            kind = 0 if dice.random() < 0.4 else dice.randrange(100)
            row = DeadLetter(
                reason="exhausted",
                state="open" if dice.random() < 0.9 else "replayed",
                task=TASKS[kind % 20],
                queue=f"queue-{kind % 6}",
                error_type=TYPES[kind % 5],
                error=f"Connection to 10.0.0.{number % 256} was refused in {STEPS[kind]} for order {number}",
                traceback=TRACEBACK,
                payload={"customer": {"id": number % 5000, "country": "DE" if number % 3 else "FR"}, "order": number},
                release=f"1.{number * 10 // letters}",
                died_at=now - timedelta(seconds=dice.random() * 7 * 86400),
                headers={"task": TASKS[kind % 20], "lang": "py"},
                body=b"[[], {}, {}]",
            )
            row.group_id = grouping.group_of(row)
            rows.append(row)
        DeadLetter.objects.bulk_create(rows)


def reads() -> dict[str, Callable[[], object]]:
    """What a page of the desk asks for, by name."""
    from tasks.dead_letters import groups, search

    def page(query: str) -> Callable[[], object]:
        return lambda: list(search.letters(query).defer(*search.HEAVY_COLUMNS)[:PAGE])

    def count(query: str) -> Callable[[], object]:
        return lambda: search.how_many(query)

    queries = {
        "all open": "",
        "task": "task:shop.task_3",
        "queue": "queue:queue-2",
        "release": "release:1.4",
        "two hours": "after:2h",
        "a word of every letter": "refused",
        "a word of some": STEPS[42],
        "a word of none": "unheard",
        "several words": "connection timeout order",
        "a rare payload value": "data.customer.id:42",
        "a common payload value": "data.customer.country:DE",
        "a payload value of none": "data.customer.id:987654",
        "words, payload, task": "refused data.customer.country:FR task:shop.task_3 after:3d",
    }
    found: dict[str, Callable[[], object]] = {}
    for name, query in queries.items():
        found[f"list: {name}"], found[f"count: {name}"] = page(query), count(query)
    found["groups: first page"] = lambda: groups.summaries(limit=PAGE)
    found["groups: second page"] = lambda: groups.summaries(limit=PAGE, offset=PAGE)
    largest = max(groups.summaries(limit=200), key=lambda summary: summary.total.number).group.pk
    found["groups: the largest"] = lambda: groups.summary(largest)
    found["list: the largest group"] = page(f"group:{largest}")
    return found


def measure(read: Callable[[], object]) -> tuple[float, float]:
    spent = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        read()
        spent.append((time.perf_counter() - began) * 1000)
    return statistics.median(spent[1:]), max(spent[1:])


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    from django.db import connection

    letters = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    name = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        began = time.perf_counter()
        fill(letters)
        print(f"{letters:,} letters on {connection.vendor}, inserted in {time.perf_counter() - began:.0f} s")  # noqa: T201
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
        for what, read in reads().items():
            median, worst = measure(read)
            print(f"{what:40} {median:8.1f} {worst:8.1f}", flush=True)  # noqa: T201
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


if __name__ == "__main__":
    main()
