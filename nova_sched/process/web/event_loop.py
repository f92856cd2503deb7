"""Waits for the connections of the web server: one system call for each request that comes, however many are idle.

The loop of waitress looks at all connections each time that something happens to one of them, and is woken after each
answer. Here the kernel keeps the list. A connection reports once, is then left alone while its request is answered, and
the thread that answered it waits for the next request at once, without the loop.
"""

import select
from collections import deque
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel

#: The longest wait for something to happen.
WAIT_SECONDS = 1.0
#: So many connections are looked at in one go: that takes less than a millisecond, for which requests wait.
LOOK_MAX = 200

#: (Not EPOLLPRI: nobody reads an urgent byte, so it would be reported again and again.)
_READ = select.EPOLLIN


class Watched(dict[int, Any]):
    """File descriptor -> what waitress does for it: the sockets of a server."""

    def __init__(self) -> None:
        super().__init__()
        self._epoll = select.epoll()
        #: Descriptors to look at again, by any thread.
        self._changed: deque[int] = deque()
        #: Listening sockets and triggers -> what is waited for.
        self._lasting: dict[int, int] = {}
        #: What is left to look at of a round through all connections.
        self._round: deque[int] = deque()

    def __setitem__(self, descriptor: int, dispatcher: Any) -> None:
        is_channel = isinstance(dispatcher, HTTPChannel)
        # (A channel is not complete yet, so nothing is waited for.)
        self._epoll.register(descriptor, select.EPOLLONESHOT if is_channel else 0)
        super().__setitem__(descriptor, dispatcher)
        if is_channel:
            self._changed.append(descriptor)
        else:
            self._lasting[descriptor] = 0

    def __delitem__(self, descriptor: int) -> None:
        super().__delitem__(descriptor)
        self._lasting.pop(descriptor, None)
        self._epoll.unregister(descriptor)

    def changed(self, descriptor: int) -> None:
        """Look at a connection again, when the loop is woken next. Any thread may call it."""
        self._changed.append(descriptor)

    def wait_for_request(self, descriptor: int | None) -> None:
        """Wait for the next request of a connection (None: it was closed). Any thread may call it."""
        if descriptor is None:
            return
        try:
            self._epoll.modify(descriptor, _READ | select.EPOLLONESHOT)
        except (OSError, ValueError):
            # It was closed meanwhile, or the loop was.
            self.changed(descriptor)

    def wait(self, seconds: float) -> None:
        """Wait until something happens, and do what waitress does then."""
        while self._changed:
            self._wait_again(self._changed.popleft())
        for descriptor, before in list(self._lasting.items()):
            wanted = _READ if self[descriptor].readable() else 0
            if wanted != before:
                self._lasting[descriptor] = wanted
                self._epoll.modify(descriptor, wanted)
        for descriptor, flags in self._epoll.poll(seconds):
            dispatcher = self.get(descriptor)
            if dispatcher is not None:
                wasyncore.readwrite(dispatcher, flags)
                self._wait_again(descriptor)

    def begin_round(self) -> None:
        """Begin to look at all connections, of which some may have to be closed: :meth:`look_on` does it."""
        self._round = deque(self)

    def look_on(self) -> bool:
        """Look at the next connections of the round; returns whether there are more."""
        for _ in range(min(LOOK_MAX, len(self._round))):
            descriptor = self._round.popleft()
            dispatcher = self.get(descriptor)
            if isinstance(dispatcher, HTTPChannel) and not dispatcher.requests:
                self._wait_again(descriptor)
        return bool(self._round)

    def look_at_all(self) -> None:
        """Look at all connections now."""
        self.begin_round()
        while self.look_on():
            pass

    def _wait_again(self, descriptor: int) -> None:
        channel = self.get(descriptor)
        if isinstance(channel, HTTPChannel):
            flags = (_READ if channel.readable() else 0) | (select.EPOLLOUT if channel.writable() else 0)
            # Without any, it stays as it is: it has reported, and its request is being answered.
            if flags:
                self._epoll.modify(descriptor, flags | select.EPOLLONESHOT)

    def close(self) -> None:
        """Give back the descriptor of the loop itself."""
        self._epoll.close()
