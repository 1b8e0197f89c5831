"""Messages as the bytes of their AMQP frames, ready for the socket.

py-amqp takes some 90 us to encode one of our messages, of which nothing but the job's id differs between two of one
task and attempt: it encodes the first, and the id is put into that for all others.
"""

from functools import lru_cache
from types import SimpleNamespace
from uuid import UUID

import amqp
from amqp import spec
from amqp.method_framing import frame_writer
from amqp.serialization import dumps

from tasks.brokers.base import JobMessage
from tasks.brokers.rabbitmq.messages import JOB_BODY, job_properties
from tasks.topology import TOPOLOGY

_ANY_ID = UUID("0eb55a1e-7a5c-4f2d-9b1e-5d0c6f3a2b17")  # as long as any other, and found nowhere else
_ID_BYTES = str(_ANY_ID).encode()


def job_frames(message: JobMessage, *, channel_id: int, frame_max: int) -> bytes:
    """A job message, persistent and mandatory, on its way to its queue."""
    template = _template(message.task, message.queue, message.attempt, channel_id, frame_max)
    return str(message.job_id).encode().join(template)


def frames(
    message: amqp.Message, exchange: str, routing_key: str, mandatory: bool = True, *, channel_id: int, frame_max: int
) -> bytes:
    """``message`` as py-amqp writes it on that channel of a connection whose frames have that limit. A ``mandatory``
    one that no queue takes comes back."""
    written = bytearray()
    write = frame_writer(SimpleNamespace(frame_max=frame_max, bytes_sent=0), SimpleNamespace(write=written.extend))
    immediate = False
    arguments = dumps("Bssbb", (0, exchange, routing_key, mandatory, immediate))
    write(1, channel_id, spec.Basic.Publish, arguments, message)
    return bytes(written)


@lru_cache(maxsize=1024)
def _template(task: str, queue_name: str, attempt: int, channel_id: int, frame_max: int) -> tuple[bytes, ...]:
    """The frames of such a message, without the job's id wherever it stands."""
    queue = TOPOLOGY.queue(queue_name)
    any_message = JobMessage(_ANY_ID, attempt, task, queue_name)
    encoded = amqp.Message(JOB_BODY, **job_properties(any_message))
    whole = frames(encoded, queue.exchange, queue.routing_key, channel_id=channel_id, frame_max=frame_max)
    return tuple(whole.split(_ID_BYTES))
