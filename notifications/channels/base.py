"""The contract of a channel: one conversation with one provider, and what the provider said."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from tasks.api import PermanentError

Message = TypeVar("Message", contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Who will get the message, and who never will and why. Whom the provider put off is in neither."""

    accepted: list[str]
    refused: dict[str, str]


class AllRefused(PermanentError):
    """The provider wants none of the recipients, for good. ``refused``: recipient -> what it said of them."""

    def __init__(self, refused: dict[str, str]):
        self.refused = refused
        super().__init__("; ".join(f"{recipient} was refused: {reason}" for recipient, reason in refused.items()))


class Channel(Protocol[Message]):
    def send(self, message: Message) -> Receipt:
        """Hand ``message`` over; at least one recipient is accepted.

        Raises RetryLater when the provider can not be reached or puts everybody off, AllRefused when it wants none of
        the recipients, and PermanentError when it wants nothing of ours.
        """
        ...
