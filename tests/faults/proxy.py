"""A way to a server that can be closed for a while, as when the server is away."""

import select
import socket
import threading
from types import TracebackType
from typing import Self


class Proxy:
    """Passes bytes to a port of this machine, on a port of its own.

    Attributes:
        port: Where it listens.
        away: While True, nobody gets through, and whoever was through is cut off.
    """

    def __init__(self, target: int) -> None:
        self._target, self.away, self.refused = target, False, 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return  # closed: the test is over
            if self.away:
                self.refused += 1
                here.close()
                continue
            there = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pass_on, args=(here, there), daemon=True).start()

    def _pass_on(self, here: socket.socket, there: socket.socket) -> None:
        with here, there:
            while not self.away:
                ready, _, _ = select.select([here, there], [], [], 0.1)
                for one in ready:
                    try:
                        data = one.recv(65536)
                        (there if one is here else here).sendall(data)
                    except OSError:
                        return
                    if not data:
                        return
