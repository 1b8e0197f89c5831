"""Routing keys and properties that are no UTF-8: py-amqp is made to read them anyhow."""

from collections.abc import Callable
from typing import Any

from amqp import abstract_channel, serialization


class _AnyText(bytes):
    """Bytes that decode whatever they hold: what is no UTF-8 is shown as backslashes."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return _AnyText(part) if isinstance(part, bytes) else part

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        try:
            return super().decode(encoding, errors)
        except UnicodeDecodeError:
            return super().decode(encoding, "backslashreplace")


def accept_any_text() -> None:
    """Let a delivery whose routing key or properties are not UTF-8 reach its consumer.

    py-amqp raises while it reads the frame, before any handler of ours: the worker ends, the message is delivered to
    the next one, and that ends too.
    """

    def lenient(read: Callable[..., Any], buffer_at: int) -> Callable[..., Any]:
        def read_anything(*arguments: Any, **options: Any) -> Any:
            try:
                return read(*arguments, **options)
            except UnicodeDecodeError:
                changed = [*arguments]
                changed[buffer_at] = _AnyText(arguments[buffer_at])
                return read(*changed, **options)

        return read_anything

    abstract_channel.loads = lenient(serialization.loads, 1)
    for number, read in serialization.PROPERTY_CLASSES.items():
        serialization.PROPERTY_CLASSES[number] = lenient(read, 0)


def as_text(value: str | bytes) -> str:
    """What py-amqp leaves as bytes: text in a table that is no UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
