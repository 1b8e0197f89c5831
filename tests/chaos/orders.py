"""What the clients ask for: a seeded mix of jobs, each with the state in which it must end."""

import random
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Order:
    """One job as a client wants it, with the state that it must end in. May be placed more than once."""

    task: str
    payload: dict[str, Any] = field(default_factory=dict)
    ends: str = "succeeded"
    options: dict[str, Any] = field(default_factory=dict)


def errand(ends: str = "succeeded", options: dict[str, Any] | None = None, **payload: Any) -> Order:
    return Order("chaos.errand", payload, ends, options or {})


def strict(ends: str = "succeeded", **payload: Any) -> Order:
    return Order("chaos.strict", payload, ends)


def quick(**payload: Any) -> Order:
    return Order("chaos.quick", payload)


def email(dice: random.Random) -> Order:
    letter = {"to": ["ada@example.com"], "subject": f"Chaos {dice.getrandbits(64):016x}", "text": "Still here.\n"}
    return Order("email.send", letter)


def report() -> Order:
    return Order("report.render", {"dataset": "job-activity", "formats": ["csv"]})


def picture(name: str) -> Order:
    return Order("image.process", {"source": name})


def draw(dice: random.Random) -> Order:
    """The next of the steady mix; reports and pictures cost too much to be drawn by chance."""
    kinds = {
        "quick": (40, lambda: quick()),
        "nap": (22, lambda: errand(seconds=round(dice.uniform(0.1, 0.8), 2))),
        "e-mail": (12, lambda: email(dice)),
        "fails twice": (8, lambda: errand(failures=2)),
        "fails for good": (4, lambda: errand("dead", failures=1_000_000, how="permanent")),
        "delayed": (7, lambda: errand(options={"delay_seconds": round(dice.uniform(0.2, 3), 2)})),
        "urgent": (7, lambda: errand(options={"priority": "high"})),
    }
    (kind,) = dice.choices(list(kinds), [weight for weight, _ in kinds.values()])
    return kinds[kind][1]()
