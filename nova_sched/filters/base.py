"""What a filter is.

A filter is one file: a rule, which is a pure function from the columns of the hosts in view and a request to refusals;
its options; its reasons; and how it explains its answer for one host.

A refusal is a reason with a boolean vector, true for each host that is refused. A host that is refused for several
reasons counts under the first, so the counts of all refusals and the survivors add up to the hosts in view.
"""

import abc
from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np

from nova_sched.filters.explanation import Finding, Look, by_words
from nova_sched.filters.options import Option
from nova_sched.hosts.view import HostView
from nova_sched.projection.reason import Reason
from rpc_api.events import SchedulingRequest


class _Refusal(NamedTuple):
    reason: Reason
    hosts: np.ndarray


class Refusal(_Refusal):
    """``hosts`` (bool, shape [hosts in view]) are refused for ``reason``. A plain text is a reason without facts: the
    code is the text."""

    __slots__ = ()

    def __new__(cls, reason, hosts):
        return tuple.__new__(cls, (reason if type(reason) is Reason else Reason(reason), hosts))


class Filter(abc.ABC):
    """Base of the filters.

    ``static``: the filter looks only at the table and at what :meth:`seen` returns for the request. Its result is kept
    for all requests with the same :meth:`seen`, and computed again only for hosts that the log touched. A filter that
    is not static may also look at ``scope``, the :class:`nova_sched.selection.scope.Scope` of this one request.

    ``follows_use``: a static filter looks at the use of hosts (:data:`~nova_sched.projection.touched.USE`). If it does
    not, its result stays valid after a claim touched a host. :meth:`follows` answers this for one request.

    ``costly``: the filter sees only the hosts that no filter before it refused.

    ``on_rebuild``: the filter also runs for a rebuild, which stays on its host and takes no more of its resources.

    ``options`` are the options that the filter reads. ``reasons`` maps each code that it refuses with to its meaning.

    A subclass of another filter with another rule needs its own :meth:`follows` (or ``follows_use``) and :meth:`seen`,
    because both are parts of the rule.
    """

    name: str = ""
    options: tuple[Option, ...] = ()
    reasons: Mapping[str, str] = {}
    static: bool = True
    follows_use: bool = True
    costly: bool = False
    on_rebuild: bool = False

    def seen(self, request: SchedulingRequest) -> Hashable:
        """Everything in a request that a static filter looks at, hashable."""
        return ()

    def follows(self, request) -> bool:
        """Whether a static filter looks at the use of hosts for a request. Requests with the same :meth:`seen` must
        have the same answer."""
        return self.follows_use

    @abc.abstractmethod
    def refusals(self, hosts: HostView, request, policy, scope):
        """Yield a :class:`Refusal` for each reason; none if the filter does not apply to the request. A static filter
        yields the same reasons in the same order for any hosts in view, because its kept result contains them."""

    def explain(self, look: Look, reason: Reason | None) -> Finding:
        """What the filter compared on one host; ``reason`` is None if it lets the host pass."""
        meanings = self.reasons if isinstance(self.reasons, Mapping) else {}
        return by_words(reason, meanings.get(reason.code) if reason else None)
