"""The scenarios as docs/reliability.md lists them."""

from tests.chaos.scenarios import SCENARIOS

BEGIN, END = "<!-- scenarios: one row a function in tests/chaos/scenarios/ -->", "<!-- end of scenarios -->"


def table() -> str:
    """One row a scenario: its name, its sentence, the mutations that it notices."""
    rows = [
        f"| {name} | {one.story[0].upper()}{one.story[1:]} | {', '.join(one.red_under)} |"
        for name, one in sorted(SCENARIOS.items())
    ]
    return "\n".join(["| scenario | what is broken, and what holds | red under |", "|---|---|---|", *rows])
