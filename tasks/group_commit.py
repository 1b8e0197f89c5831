"""Concurrent callers share one write and one commit, of which a database has only so many a second.

The first caller leads: it writes what waits at that moment, its own alone if it is alone, and hands the lead to one of
those that came meanwhile. Nobody waits for company.
"""

import threading
from collections.abc import Callable, Sequence
from copy import copy
from typing import Generic, TypeVar, cast

from django.db import InterfaceError, OperationalError

Row = TypeVar("Row")
Answer = TypeVar("Answer")

MOST_AT_ONCE = 200


class GroupCommit(Generic[Row, Answer]):
    """``write`` returns the answers to the rows it is given, in their order, once they are committed."""

    def __init__(self, write: Callable[[Sequence[Row]], Sequence[Answer]]):
        self._write = write
        self._lock = threading.Lock()
        self._waiting: list[_Caller[Row, Answer]] = []
        self._has_leader = False

    def commit(self, row: Row) -> Answer:
        """The answer to ``row``, once it is committed. Raises what ``write`` raises for this row, whatever came of the
        others; an outage of the database is everyone's."""
        caller = _Caller[Row, Answer](row)
        with self._lock:
            self._waiting.append(caller)
            leads, self._has_leader = not self._has_leader, True
        if not leads:
            caller.called.acquire()
        if not caller.is_settled:
            self._lead()
        return caller.result()

    def _lead(self) -> None:
        """Write what waits; the leader has waited longest, so its own row is in it."""
        with self._lock:
            group, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
        try:
            self._settle(group)
        finally:
            with self._lock:
                self._has_leader = bool(self._waiting)
                next_leader = self._waiting[:1]
            for caller in group[1:] + next_leader:
                caller.called.release()

    def _settle(self, group: "list[_Caller[Row, Answer]]") -> None:
        try:
            answers = self._write([caller.row for caller in group])
        except (OperationalError, InterfaceError) as error:
            for caller in group:
                caller.fail(error)
        except Exception as error:
            if len(group) == 1:
                group[0].fail(error)
            else:
                for caller in group:
                    self._settle([caller])
        except BaseException:  # the leader's thread is to end: nobody can say what became of the others
            for caller in group:
                caller.fail(InterfaceError("the process ended a write that others shared"))
            raise
        else:
            for caller, answer in zip(group, answers, strict=True):
                caller.succeed(answer)


class _Caller(Generic[Row, Answer]):
    """One who waits: until it is settled, or has to lead."""

    def __init__(self, row: Row):
        self.row = row
        self.called = threading.Lock()
        self.called.acquire()
        self.is_settled = False
        self._answer: Answer | None = None
        self._error: Exception | None = None

    def succeed(self, answer: Answer) -> None:
        self._answer, self.is_settled = answer, True

    def fail(self, error: Exception) -> None:
        self._error, self.is_settled = error, True

    def result(self) -> Answer:
        if self._error is not None:
            raise copy(self._error) from self._error  # one for each thread: each adds its own traceback
        return cast(Answer, self._answer)
