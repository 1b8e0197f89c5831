"""Django's mail, kept in memory."""

from collections.abc import Sequence
from typing import Any

from django.core.mail.backends.locmem import EmailBackend as MemoryBackend

from tasks.dead_letters.sandbox.telling import tell


class EmailBackend(MemoryBackend):
    """Django's own for tests, which builds each message as it would be sent, and so finds what is wrong with it."""

    def send_messages(self, messages: Sequence[Any]) -> int:
        messages = list(messages)
        sent = super().send_messages(messages)
        for message in messages:
            tell(
                "mail",
                sender=message.from_email,
                recipients=message.recipients(),
                subject=str(message.subject),
                text=str(message.body),
                attachments=len(message.attachments),
            )
        return sent
