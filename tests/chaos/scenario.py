"""What a scenario is: a name, one sentence, a body that breaks things, and the mutations that it must notice."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.scene import Scene

Body = Callable[["Scene", random.Random], None]


@dataclass(frozen=True)
class Scenario:
    """``story``: what is broken, what holds, why. ``red_under``: the mutations that must turn it red."""

    name: str
    story: str
    body: Body
    red_under: tuple[str, ...]
    workers: int = 2
    webs: int = 2
    cluster: bool = False
    proxied: bool = False
    seasoned: bool = False
    copies: bool = False
    flower: bool = False
    pool: str = "prefork"
    environment: Mapping[str, str] = field(default_factory=dict)
    broker_settings: Mapping[str, int] = field(default_factory=dict)


SCENARIOS: dict[str, Scenario] = {}


def scenario(*red_under: str, **setting: object) -> Callable[[Body], Body]:
    """Register a function as the scenario called like it, with dashes.

    ``workers`` and ``webs`` run when it begins, under a load unless ``webs`` is 0. ``cluster``: on three nodes of
    RabbitMQ instead of one. ``proxied``: the platform reaches the broker through ``scene.proxy``. ``seasoned``: the
    broker has been restarted in good order since its queues were made (docs/reliability.md, "Limits"). ``copies``:
    publishers may not learn what arrived, so that messages come twice without a word. ``flower``: it is attached to the
    workers. ``pool`` is theirs. ``environment`` is added to that of the processes, ``broker_settings`` to the single
    node's.
    """

    def register(body: Body) -> Body:
        name = body.__name__.replace("_", "-")
        story = " ".join((body.__doc__ or "").split())
        SCENARIOS[name] = Scenario(name, story, body, red_under, **setting)  # type: ignore[arg-type]
        return body

    return register
