"""What a filter is.

A filter is one file: a rule, which is a pure function from the columns of the hosts in view and a request to refusals;
its options; its reasons; and how it explains its answer for one host.

For each reason a refusal has one boolean vector, true where the host is refused. Of several reasons a host counts under
the first, so that the counts of all refusals and the survivors add up to the hosts in view.
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

    ``static`` filters look at the table and at what :meth:`seen` gives of the request: their result is kept for all
    requests of which that is the same, and only renewed for hosts that the log touched. A filter that looks at nothing
    of a host that is :data:`~nova_sched.projection.touched.USE` does not ``follow_use``, and is not asked again after a
    claim touched a host; :meth:`follows` answers that for one request. Other filters may look at ``scope``, the
    :class:`nova_sched.selection.scope.Scope` of this one request. A ``costly`` filter is shown only the hosts that no
    filter before it refused. A rebuild, which stays on its host and takes nothing more of it, is only shown to the
    filters ``on_rebuild``.

    ``options`` are those that the filter looks at. ``reasons`` has each code that it refuses with, and what that means.

    A class that is made of another filter and has another rule must have its own :meth:`follows` (or ``follows_use``)
    and :meth:`seen`, as these are part of the rule.
    """

    name: str = ""
    options: tuple[Option, ...] = ()
    reasons: Mapping[str, str] = {}
    static: bool = True
    follows_use: bool = True
    costly: bool = False
    on_rebuild: bool = False

    def seen(self, request: SchedulingRequest) -> Hashable:
        """All that a static filter looks at of a request, hashable."""
        return ()

    def follows(self, request) -> bool:
        """Whether a static filter looks at the use of hosts for a request; it is the same for all requests of which
        :meth:`seen` is the same."""
        return self.follows_use

    @abc.abstractmethod
    def refusals(self, hosts: HostView, request, policy, scope):
        """Yield a :class:`Refusal` for each reason; none if the filter does not apply to the request. A static filter
        yields the same reasons in the same order whichever hosts are in view, as those are part of what is kept."""

    def explain(self, look: Look, reason: Reason | None) -> Finding:
        """What the filter compared on one host; ``reason`` is None if it lets the host pass."""
        meanings = self.reasons if isinstance(self.reasons, Mapping) else {}
        return by_words(reason, meanings.get(reason.code) if reason else None)
