"""Remote control's queue of a worker: its own, and of this connection alone."""

from uuid import uuid4

from celery.app import control
from kombu import Queue
from kombu.pidbox import Mailbox


class WorkerMailbox(Mailbox):
    """Gives each connection a queue of its own.

    Under Celery's fixed name an exclusive queue ends a worker that reconnects before the broker has noticed the old
    connection go, and a durable one keeps it from reconnecting while the cluster's node that made it is down. Commands
    are addressed within the message, so the queue's name does not matter.
    """

    def get_queue(self, hostname: str) -> Queue:
        name = f"{hostname}.{uuid4().hex[:12]}.{self.namespace}.pidbox"
        return Queue(name, exchange=self.exchange, durable=False, exclusive=True, auto_delete=True)


class Control(control.Control):
    """Celery's, with that mailbox."""

    Mailbox = WorkerMailbox
