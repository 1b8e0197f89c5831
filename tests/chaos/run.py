# ruff: noqa: T201  a person reads this
"""Play scenarios one after the other on one stage."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from compose.private import signals
from tests.chaos import report
from tests.chaos.report import Played
from tests.chaos.scenario import Scenario
from tests.chaos.setting import played
from tests.chaos.stage import Stage, opened
from tests.chaos.verdict import Figures, Miss

NOTHING = Figures(0, 0, 0, 0, 0, 0)


def play_all(scenarios: Sequence[Scenario], seed: int, mutation: str, directory: Path) -> int:
    """Exit code: 0 when everything is as it should be, which under a mutation means that every scenario is red."""
    begin = time.monotonic()
    told = f", with {mutation} broken on purpose: every scenario must be red" if mutation else ""
    print(f"seed {seed}, {len(scenarios)} scenarios{told}", flush=True)
    done: list[Played] = []
    with opened(directory) as stage:
        for scenario in scenarios:
            signals.check()
            done.append(play(stage, scenario, seed, mutation))
            print(report.line(done[-1]), flush=True)
            if done[-1].is_red:
                print(report.misses(done[-1]), flush=True)
    print(f"\n{report.table(done)}\n")
    wrong = [one.name for one in done if one.is_red is not bool(mutation)]
    again = f"make chaos SCENARIO={(wrong or [done[-1].name])[0]} SEED={seed}{f' MUTATION={mutation}' * bool(mutation)}"
    print(f"{len(done)} scenarios in {time.monotonic() - begin:.0f} s, seed {seed}; one again: {again}")
    if mutation:
        print(f"NOT NOTICED by {', '.join(wrong)}" if wrong else f"{mutation}: noticed by every scenario, as it should")
    elif wrong:
        print(f"RED: {', '.join(wrong)}")
    return len(wrong) > 0


def play(stage: Stage, scenario: Scenario, seed: int, mutation: str) -> Played:
    """One scenario, whose every failure is its own: the next one begins on a stage that is mended."""
    begin = time.monotonic()
    directory = stage.directory / scenario.name
    shutil.rmtree(directory, ignore_errors=True)
    figures, misses, evidence = NOTHING, [], None
    try:
        with played(stage, scenario, seed, mutation) as scene:
            try:
                scenario.body(scene, scene.dice)
            except signals.Stopped:
                raise
            except Exception as error:  # a fault that could not be made, or a wait in vain
                scene.demand(False, f"{type(error).__name__}: {error}")
            figures, misses, evidence = scene.verdict()
    except signals.Stopped:
        raise
    except Exception as error:
        misses = [*misses, Miss(None, f"the stage failed: {type(error).__name__}: {error}")]
    return Played(scenario.name, figures, misses, evidence, time.monotonic() - begin, directory)
