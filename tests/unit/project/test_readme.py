"""The README tells the truth."""

import re
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from project.env import Env

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()


def configuration_rows() -> list[str]:
    """The table as the environment class has it."""
    return [
        f"| `{name.upper()}` | {shown_default(field)} | {field.description} |"
        for name, field in Env.model_fields.items()
    ]


def shown_default(field: FieldInfo) -> str:
    if field.is_required():
        return "none"
    if isinstance(field.default, SecretStr) or field.default in ("", None, []):
        return ""
    value = field.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{','.join(value) if isinstance(value, list) else value}`"


def test_the_configuration_table_lists_every_variable():
    table = README.split("<!-- configuration:")[1].split("<!-- end of configuration -->")[0]
    written = [line for line in table.splitlines() if line.startswith("| `")]
    assert written == configuration_rows(), "expected:\n" + "\n".join(configuration_rows())


def test_every_linked_file_exists():
    links = re.findall(r"\]\((?!http)([^)#]+)\)|src(?:set)?=\"([^\"]+)\"", README)
    assert [link for pair in links for link in pair if link and not (ROOT / link).exists()] == []


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z]+)", README))
    assert named <= targets
