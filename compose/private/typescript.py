"""The TypeScript client: types made of docs/openapi.json, and the documentation's examples built against them."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from compose.private import ROOT, VAR
from compose.private.problems import Problem
from compose.private.process import run

CLIENT = ROOT / "docs" / "typescript"
DESCRIPTION = ROOT / "docs" / "openapi.json"
EXAMPLES = ROOT / "docs" / "http-api.md"
NEEDS = ("node", "npm")
_FILES = ("package.json", "package-lock.json", "tsconfig.json", "client.ts")


def build(directory: Path = VAR / "typescript") -> Path:
    """Build client and examples with the locked compiler. Returns where example-1.js and so on are.

    Problem when a type does not fit; the compiler's own words are on the terminal by then.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for stale in (*directory.glob("*.ts"), *directory.glob("built/*")):
        stale.unlink()
    is_installed = (directory / "node_modules/.package-lock.json").exists() and _same_lock(directory)
    for name in _FILES:
        shutil.copy(CLIENT / name, directory / name)
    if not is_installed:
        _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", directory=directory)
    for number, example in enumerate(examples(), start=1):
        (directory / f"example-{number}.ts").write_text(example)
    _run("node_modules/.bin/openapi-typescript", str(DESCRIPTION), "--output", "schema.d.ts", directory=directory)
    _run("node_modules/.bin/tsc", directory=directory)
    return directory / "built"


def examples(language: str = "ts") -> Iterator[str]:
    """The documentation's examples in ``language``, in their order."""
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", EXAMPLES.read_text(), re.MULTILINE | re.DOTALL):
        yield found[1]


def _same_lock(directory: Path) -> bool:
    name = "package-lock.json"
    return (directory / name).exists() and (directory / name).read_bytes() == (CLIENT / name).read_bytes()


def _run(*command: str, directory: Path) -> None:
    if run(command, cwd=directory):
        raise Problem(f"this failed: {' '.join(command)} in {directory}")
