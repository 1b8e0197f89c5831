"""What a check said, in a form that a test compares in one line."""

from collections.abc import Iterable

from tasks.doctor.check import Finding, Unknown


def findings(problems: Iterable[Finding | Unknown]) -> list[str]:
    """What was found; each has a remedy. An unknown is a failure here."""
    found = list(problems)
    assert all(isinstance(problem, Finding) and problem.remedy for problem in found), found
    return [problem.what for problem in found]


def unknowns(problems: Iterable[Finding | Unknown]) -> list[str]:
    """What could not be asked. A finding is a failure here."""
    found = list(problems)
    assert all(isinstance(problem, Unknown) and problem.remedy for problem in found), found
    return [problem.what for problem in found]
