"""A TCP proxy on loopback that can do what networks do: reset connections, swallow what is sent, refuse, come back."""

import selectors
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)  # linger for 0 seconds: close() sends RST instead of FIN


class Proxy:
    """Listens on a free port and passes everything to ``target``, until told otherwise."""

    def __init__(self, target: tuple[str, int]):
        self._target = target
        self._lock = threading.Lock()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._swallowed: set[socket.socket] = set()
        self._refusing = False
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def reset(self) -> int:
        """Break every connection with RST, as a firewall or a dying machine does. How many there were."""
        with self._lock:
            ends = list(self._pairs)
            for end in ends:
                self._drop(end)
        return len(ends) // 2

    def swallow(self) -> int:
        """From now on the existing connections accept bytes and lose them: both sides think that the other is silent.

        New connections pass. Returns how many are half open now.
        """
        with self._lock:
            self._swallowed |= self._pairs.keys()
            return len(self._swallowed) // 2

    def refuse(self) -> None:
        """Break every connection and take no new one."""
        self._refusing = True
        self.reset()

    def resume(self) -> None:
        self._refusing = False

    def close(self) -> None:
        self._closed = True
        self.reset()
        self._thread.join(timeout=5)
        self._listener.close()

    def _run(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select(timeout=0.2):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            if self._refusing:
                raise ConnectionRefusedError
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            near.close()
            return
        far.settimeout(5)  # for what is sent; a side that takes nothing for so long is taken for gone
        near.settimeout(5)
        with self._lock:
            self._pairs[near], self._pairs[far] = far, near
            for end in (near, far):
                self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        with self._lock:
            other = self._pairs.get(end)
            if other is None:
                return
            try:
                data = end.recv(65536)
                if data and end not in self._swallowed:
                    other.sendall(data)
            except OSError:
                data = b""
            if not data:
                self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        """Close both ends of the pair that ``end`` belongs to."""
        other = self._pairs.pop(end, None)
        if other is None:
            return
        self._pairs.pop(other, None)
        for one in (end, other):
            self._swallowed.discard(one)
            self._selector.unregister(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.close()
