"""Sessions of browsers that are logged in. They are in memory: a restart of the page ends them."""

import secrets
import threading
from collections import OrderedDict
from hashlib import sha256
from typing import NamedTuple

from rpc_api.clock import SYSTEM

SECOND_NS = 10**9
#: Bytes of chance in the name of a session.
NAME_BYTES = 32


class Session(NamedTuple):
    """Who looks at the page. ``token`` is that of Keystone, which never leaves the process; ``project_id`` is None for
    one of the system. ``sees_all`` is whether other projects are shown; the session ends at ``ends_ns``."""

    user: str
    user_id: str | None
    project: str | None
    project_id: str | None
    sees_all: bool
    ends_ns: int | None = None
    token: str | None = None

    def as_json(self) -> dict:
        """It as the browser may know it."""
        return {
            "user": self.user,
            "project": self.project,
            "sees_all": self.sees_all,
            "ends_ms": None if self.ends_ns is None else self.ends_ns // 10**6,
        }


#: The session of everyone, without a login.
OF_LOOPBACK = Session("everyone on this machine", None, None, None, True)


class Sessions:
    """The sessions by the name that a cookie has. Only hashes of names are kept."""

    def __init__(self, most: int, clock=SYSTEM):
        self._most, self._clock = most, clock
        self._kept = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, session: Session) -> str:
        """Keep a session, and return its name for a cookie."""
        name = secrets.token_urlsafe(NAME_BYTES)
        with self._lock:
            self._forget()
            self._kept[_hashed(name)] = session
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return name

    def get(self, name: str | None) -> Session | None:
        """Return the session of a name; None if there is none, or it has ended."""
        if not name:
            return None
        key = _hashed(name)
        with self._lock:
            found = self._kept.get(key)
            if found is not None and self._is_over(found):
                del self._kept[key]
                return None
            return found

    def end(self, name: str | None) -> Session | None:
        """End a session, and return it."""
        with self._lock:
            return self._kept.pop(_hashed(name), None) if name else None

    def _forget(self):
        for key in [key for key, session in self._kept.items() if self._is_over(session)]:
            del self._kept[key]

    def _is_over(self, session):
        return session.ends_ns is not None and self._clock.now_ns() >= session.ends_ns


def _hashed(name: str) -> bytes:
    return sha256(name.encode("utf-8", "surrogatepass")).digest()
