"""Reading all that a connection has received at one turn of an event loop.

The client reads a message in nine calls to the kernel, and its event loop turns once for each message. That costs more
than all else that is done with a message that carries ids only.
"""

from struct import unpack_from

from amqp import Connection

CHUNK_BYTES = 8192  # of what is left in the buffer, a copy is made with each frame
_HEADER_BYTES, _END_BYTES = 7, 1


def read_received(connection: Connection) -> None:
    """Dispatch every whole frame that has arrived, and wait for none.

    Raises OSError when the connection is gone.
    """
    transport = connection.transport
    received = CHUNK_BYTES
    while received == CHUNK_BYTES:
        try:
            with transport.having_timeout(0):
                data = transport._quick_recv(CHUNK_BYTES)
        except TimeoutError:
            break
        if not data:
            raise ConnectionResetError("the broker closed the connection")
        received = len(data)
        transport._read_buffer += data
        while _has_frame(transport._read_buffer):
            connection.blocking_read()


def _has_frame(data: bytes) -> bool:
    return len(data) > _HEADER_BYTES and len(data) >= _HEADER_BYTES + unpack_from(">I", data, 3)[0] + _END_BYTES
