"""What a filter is.

A filter is a pure function from the columns of the hosts in view and a
request to refusals: for each reason one boolean vector, true where the host
is refused. Of several reasons a host counts under the first, so that the
counts of all refusals and the survivors add up to the hosts in view.
"""

import abc
from typing import NamedTuple

import numpy as np

from nova_sched.hosts.view import HostView


class Refusal(NamedTuple):
    """``hosts`` (bool, shape [hosts in view]) are refused for ``reason``, a stable short text."""

    reason: str
    hosts: np.ndarray


class Filter(abc.ABC):
    """Base of the filters.

    ``static`` filters look at the table and at what :meth:`seen` gives of the request: their result is kept for all
    requests of which that is the same, and only renewed where the log touched a host.
    One that looks at nothing of a host that is :data:`~nova_sched.projection.touched.USE` does not ``follow_use``,
    and is not asked again where a claim touched a host; :meth:`follows` says it of one request. Others may look at
    ``scope``, the :class:`nova_sched.selection.scope.Scope` of this one request. A ``costly`` filter is shown the
    hosts only that no filter before it refused. A rebuild, which stays on its host and takes nothing more of it, is
    only shown to the filters ``on_rebuild``. One with a :meth:`refusal_of` of its own is asked ``one_by_one`` about
    a few hosts.

    ``options`` are those that it looks at, of the section [filter_scheduler] unless another is said ("[metrics]
    required"); ``reasons`` all texts that it refuses with, a word in braces for what differs.
    """

    name: str = ""
    options: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    static: bool = True
    follows_use: bool = True
    costly: bool = False
    on_rebuild: bool = False
    one_by_one: bool = False

    def __init_subclass__(cls, **arguments):
        super().__init_subclass__(**arguments)
        # Who refuses otherwise than the class it is made of is not told, one by one or by use, what that one would say.
        whose = {
            name: next(number for number, one in enumerate(cls.__mro__) if name in vars(one))
            for name in ("refusals", "refusal_of", "follows")
        }
        for name in ("refusal_of", "follows"):
            if whose["refusals"] < whose[name]:
                setattr(cls, name, getattr(Filter, name))
        cls.one_by_one = cls.refusal_of is not Filter.refusal_of

    def seen(self, request):
        """All that a static filter looks at of a request, hashable."""
        return ()

    def follows(self, request) -> bool:
        """Whether a static filter looks at the use of hosts for a request; it is the same for all of which
        :meth:`seen` is."""
        return self.follows_use

    @abc.abstractmethod
    def refusals(self, hosts: HostView, request, policy, scope):
        """Yield a :class:`Refusal` for each reason; none at all where the filter does not apply to the request. A
        static filter yields the same reasons in the same order whichever hosts are in view, as those stand in what is
        kept."""

    def refusal_of(self, table, row: int, request, policy) -> str | None:
        """The first reason of a static filter to refuse one host, by its root row; None where it passes. The same as
        :meth:`refusals` say, in a fraction of the time where the filter is asked ``one_by_one``."""
        for refusal in self.refusals(HostView(table, np.array([row])), request, policy, None):
            if refusal.hosts[0]:
                return refusal.reason
        return None
