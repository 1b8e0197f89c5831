"""Play a contest: everybody once a round, in rotated order."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from compose.private import signals
from tests.bench.contests.base import Contest
from tests.bench.field import Contestant
from tests.bench.figures import Round, Sample, orders


@dataclass
class Played:
    """What came of a contest. ``errors``: the reason, by the name of each contestant that gave no figure in a round."""

    contest: Contest
    entries: Sequence[Contestant]
    rounds: list[Round] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


Tell = Callable[[str, str, Sample | str], object]
"""Hears of each run: which round, who, and what was measured or why nothing was."""


def play(contest: Contest, entries: Sequence[Contestant], rounds: int, tell: Tell) -> Played:
    """A contestant that fails is out of the contest, with its reason, and the others go on."""
    begin, played = time.monotonic(), Played(contest, entries)
    for number, order in enumerate(orders(entries, rounds), 1):
        samples: dict[str, Sample] = {}
        for contestant in order:
            signals.check()
            if contestant.name in played.errors:
                continue
            try:
                samples[contestant.name] = sample = contest.measure(contestant)
            except signals.Stopped:
                raise
            except Exception as error:
                played.errors[contestant.name] = f"{type(error).__name__}: {error}"
                tell(f"{number}/{rounds}", contestant.name, f"ERROR  {error}")
            else:
                tell(f"{number}/{rounds}", contestant.name, sample)
        played.rounds.append(samples)
    played.seconds = time.monotonic() - begin
    return played
