"""Selects beside the search box. Each writes into the query, so that there is one place to read what is asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tasks.dead_letters.query import ANY_STATE, values_of, with_values
from tasks.models import DeadLetter
from tasks.registry import registry
from tasks.topology import TOPOLOGY, UNROUTED_QUEUE

AS_TYPED = "~"
"""The choice of a select for what it has no choice for."""
WAS = "was"
"""The parameter that tells the query which the page with the selects was about."""

Choices = list[tuple[str, str]]


@dataclass(frozen=True)
class Filter:
    """One name of the query language, and the values worth a choice; the first stands for none."""

    name: str
    title: str
    choices: Callable[[], Choices]
    values: Callable[[str], list[str]] = lambda choice: [choice]
    """What is written for a choice."""

    def chosen(self, query: str) -> str:
        asked = values_of(query, self.name)
        if not asked:
            return ""
        fitting = (choice for choice, _ in self.choices() if choice and set(self.values(choice)) == set(asked))
        return next(fitting, AS_TYPED)

    def written(self, query: str, choice: str) -> str:
        return with_values(query, self.name, self.values(choice) if choice else [])


FILTERS = (
    Filter(
        "state",
        "State",
        lambda: [
            ("", "Open"),
            (DeadLetter.State.REPLAYED.value, "Replayed"),
            (DeadLetter.State.DISCARDED.value, "Discarded"),
            (ANY_STATE, "All"),
        ],
    ),
    Filter("reason", "Reason", lambda: [("", "All"), *DeadLetter.Reason.choices]),
    Filter(
        "task",
        "Task",
        lambda: [("", "All"), *((spec.name, spec.title) for spec in registry)],
        lambda choice: list(registry.names_of(choice)),  # letters of earlier names are among them
    ),
    Filter(
        "queue",
        "Queue",
        lambda: [("", "All"), *((name, name) for name in (*TOPOLOGY.queue_names, UNROUTED_QUEUE))],
    ),
    Filter(
        "after",
        "Died",
        lambda: [
            ("", "At any time"),
            ("1h", "In the last hour"),
            ("1d", "In the last day"),
            ("1w", "In the last week"),
        ],
    ),
)


def asked(given: Mapping[str, str]) -> str | None:
    """The query that a search box, ``q``, and the selects beside it ask for together; None where no select was sent.

    A select counts only where it was changed: else it would overwrite what was typed a moment ago.
    """
    sent = [filter for filter in FILTERS if filter.name in given]
    if not sent:
        return None
    query, was = given.get("q", ""), given.get(WAS, "")
    for filter in sent:
        choice = given[filter.name]
        if choice not in (AS_TYPED, filter.chosen(was)):
            query = filter.written(query, choice)
    return query


def shown(query: str) -> Iterator[dict[str, object]]:
    """The selects as a page draws them."""
    for filter in FILTERS:
        chosen = filter.chosen(query)
        choices = filter.choices()
        if chosen == AS_TYPED:
            choices = [*choices, (AS_TYPED, "As typed above")]
        yield {
            "name": filter.name,
            "title": filter.title,
            "choices": [(value, label, value == chosen) for value, label in choices],
        }
