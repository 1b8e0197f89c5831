"""A run as JSON: var/bench/latest.json is any run, var/bench/full.json the last full one, which the docs tell of."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compose.private import ROOT
from tests.bench.figures import Sample, middle
from tests.bench.rounds import Played
from tests.bench.targets import Row


@dataclass(frozen=True)
class Entry:
    """A contestant in a contest, as it is read back: its medians, or the error that it has instead."""

    name: str
    settings: str
    promises: Mapping[str, str]
    median: Sample | None
    error: str = ""


@dataclass(frozen=True)
class Record:
    """What a run has found. ``rows``: name, ratio, target, reach, met and reached of each target."""

    at: str
    commit: str
    quick: bool
    wall_seconds: float
    machine: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    contests: Mapping[str, Mapping[str, Any]]

    def entries(self, contest: str) -> list[Entry]:
        found = []
        for one in self.contests.get(contest, {}).get("entries", []):
            sample = one["median"] and Sample(**one["median"])
            found.append(Entry(one["name"], one["settings"], one["promises"], sample, one["error"]))
        return found


def record(done: Sequence[Played], rows: Sequence[Row], *, quick: bool, wall_seconds: float) -> Record:
    return Record(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        quick=quick,
        wall_seconds=round(wall_seconds, 1),
        machine={"cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        rows=[_row(row) for row in rows],
        contests={played.contest.name: _contest(played) for played in done},
    )


def write(run: Record, file: Path) -> None:
    file.write_text(json.dumps(asdict(run), indent=2, default=dict) + "\n")


def read(file: Path) -> Record:
    """FileNotFoundError when there was no such run."""
    return Record(**json.loads(file.read_text()))


def _row(row: Row) -> dict[str, Any]:
    target = row.target
    return {
        "name": target.name,
        "ratio": row.ratio,
        "target": target.at_least,
        "reach": target.reach,
        "less_is_better": target.less_is_better,
        "met": row.met,
        "reached": row.reached,
    }


def _contest(played: Played) -> dict[str, Any]:
    entries = []
    for one in played.entries:
        sample = middle(played.rounds, one.name)
        entries.append(
            {
                "name": one.name,
                "settings": one.settings,
                "promises": asdict(one.promises),
                "median": sample and asdict(sample),
                "error": played.errors.get(one.name, ""),
            }
        )
    return {
        "title": played.contest.title,
        "seconds": round(played.seconds, 1),
        "entries": entries,
        "rounds": [{name: asdict(sample) for name, sample in one.items()} for one in played.rounds],
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
