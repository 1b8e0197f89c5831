"""The worker's events, for Flower: best effort, and never in the way of a job."""

from typing import Any

from celery.app import events
from celery.events import EventDispatcher


class Dispatcher(EventDispatcher):
    """Celery's, which tries each event once.

    Stock, a heartbeat's event is tried for ever, on the worker's main thread: against a connection that died while that
    thread was busy it never succeeds, and the worker looks alive and consumes nothing. Here it says that the connection
    is gone, and the worker connects anew.
    """

    def _publish(self, event: Any, producer: Any, routing_key: str, retry: bool = False, **options: Any) -> None:
        kept = len(self._outbound_buffer)
        super()._publish(event, producer, routing_key, retry=False, **options)
        if routing_key == "worker.heartbeat" and len(self._outbound_buffer) > kept:
            self._outbound_buffer.pop()
            raise ConnectionResetError("the connection for events is gone")


class Events(events.Events):
    """Celery's, with that dispatcher."""

    dispatcher_cls = "tasks.worker.events:Dispatcher"
