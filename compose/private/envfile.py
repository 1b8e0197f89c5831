"""Files of ``KEY=value`` lines that only their owner may read."""

import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path


def read(path: Path) -> dict[str, str]:
    """The file's values; empty where there is no file."""
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {key: "".join(shlex.split(value)) for key, _, value in pairs}


def write(path: Path, values: Mapping[str, str]) -> None:
    """Replace the file in one step, mode 0600. Values are quoted where a shell needs it. ValueError for line breaks."""
    if broken := [key for key, value in values.items() if "\n" in value]:
        raise ValueError(f"a line break in {', '.join(broken)}")
    write_private(path, "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items()))


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; nobody but its owner can read it, not even for the moment in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


class Secrets:
    """Passwords and keys, each drawn once and kept, so that a second start opens the data of the first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str, *, size_bytes: int = 24) -> str:
        kept = read(self._path)
        if name not in kept:
            kept[name] = secrets.token_hex(size_bytes)  # hex: safe in a URL and in every server's configuration
            write(self._path, kept)
        return kept[name]
