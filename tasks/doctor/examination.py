"""All checks, asked one after the other."""

from collections.abc import Iterable, Iterator

from tasks import brokers
from tasks.doctor import (
    accounts,
    addresses,
    celery_settings,
    database,
    deployment,
    job_events,
    jobs,
    limits,
    storage,
    workers,
)
from tasks.doctor.check import Check, Finding, Result, Status, Unknown, in_one_line


def examine() -> list[Result]:
    """What every check says: all its problems, or one line that it is ok. Never raises for what it finds."""
    broker = brokers.connect()
    try:
        return list(answers((*OWN, *broker.checks())))
    finally:
        broker.close()


OWN: tuple[Check, ...] = (
    *deployment.CHECKS,
    *addresses.CHECKS,
    *celery_settings.CHECKS,
    *database.CHECKS,
    *accounts.CHECKS,
    *storage.CHECKS,
    *workers.CHECKS,
    *limits.CHECKS,
    *jobs.CHECKS,
    *job_events.CHECKS,
)


def answers(checks: Iterable[Check]) -> Iterator[Result]:
    """The results of ``checks``, which stand after the ones they need."""
    troubled: set[str] = set()
    for check in checks:
        if missing := [name for name in check.needs if name in troubled]:
            problems: list[Finding | Unknown] = [Unknown(f"not asked: mend {missing[0]} first", remedy="")]
        else:
            problems = _ask(check)
        if problems:
            troubled.add(check.name)
        else:
            yield Result(check.name, Status.OK, check.fine)
        yield from (_result(check, problem) for problem in problems)


def _ask(check: Check) -> list[Finding | Unknown]:
    problems: list[Finding | Unknown] = []
    try:
        problems += check.ask()
    except Exception as error:  # an operator in trouble needs the other answers, and no traceback
        what = f"could not be asked: {type(error).__name__}"
        if not isinstance(error, ValueError):  # those of URL parsers may quote a piece of a password
            what += f": {in_one_line(error)}"
        problems.append(Unknown(what, "If nothing else is found that explains it, this is a fault of the check."))
    return problems


def _result(check: Check, problem: Finding | Unknown) -> Result:
    status = Status.FINDING if isinstance(problem, Finding) else Status.UNKNOWN
    return Result(check.name, status, problem.what, problem.remedy)
