"""The real Placement's answers to damaged requests.

Run by the peer's own Python beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

from placement_app import Placement

_placement = Placement()


def status(method, path, body, version):
    """The status of an answer; 500 where Placement raises. ``body`` is in latin-1."""
    try:
        return _placement.raw(method, path, body.encode("latin-1"), version)[0]
    except Exception:
        return 500


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (status,)
