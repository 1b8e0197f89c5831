"""What one connection has delivered and is still to be settled."""

import logging
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

logger = logging.getLogger(__name__)


class Deliveries:
    """Settles many messages at the price of one where the protocol allows it (AMQP's ``multiple``: "this one and all
    before it").

    A message of an earlier connection can not be settled any more: it is delivered again, and is a duplicate then. The
    same happens to what a dying connection no longer takes. For the thread that owns the connection.
    """

    def __init__(self, errors: tuple[type[BaseException], ...], *, several_at_once: bool):
        self._errors: tuple[type[BaseException], ...] = (OSError, *errors)
        self._several_at_once = several_at_once
        self._open: dict[Any, Any] = {}  # by tag, in the order of delivery

    def __contains__(self, message: Any) -> bool:
        return self._open.get(message.delivery_tag) is message

    def add(self, message: Any) -> None:
        """It has just arrived."""
        self._open[message.delivery_tag] = message

    def acknowledge(self, messages: Iterable[Any]) -> None:
        """All of ``messages``."""
        left = {message.delivery_tag: message for message in messages if message in self}
        run = list(takewhile(left.__contains__, self._open)) if self._several_at_once else []
        if len(run) > 1:
            self._settle(run, lambda: left[run[-1]].ack(multiple=True))
            left = {tag: message for tag, message in left.items() if tag in self._open}
        for tag, message in left.items():
            self._settle([tag], message.ack)

    def reject(self, message: Any, *, requeue: bool = False) -> None:
        """To the dead-letter exchange, or back into its queue."""
        if message in self:
            self._settle([message.delivery_tag], lambda: message.reject(requeue=requeue))

    def _settle(self, tags: list[Any], settle: Any) -> None:
        for tag in tags:
            del self._open[tag]
        try:
            settle()
        except self._errors as error:
            logger.warning("%d messages could not be settled: %s", len(tags), error)
