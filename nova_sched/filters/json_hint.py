"""JsonFilter: refuses hosts that do not meet a query in the request's hints."""

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.json_query import evaluate, names_in, parsed
from nova_sched.hosts.columns import OF_USE
from nova_sched.projection.reason import Reason

NOT_COMPARABLE = Reason("query compares what cannot be compared")
NOT_MET = Reason("query")


class JsonFilter(Filter):
    """The hint ``query`` is a query in JSON: a list of an operator and its arguments, which may be lists
    again, as in ``["and", [">=", "$free_ram_mb", 1024], ["in", "$host", "a", "b"]]``.

    ``=``, ``<``, ``>``, ``<=``, ``>=`` compare the first value with each of the others and hold if all do; ``in``
    holds if the first is one of the others; ``and`` and ``or`` take any number; ``not`` answers a list with each
    of its values turned round, of which one must be true at the outermost place, and which inside of ``and`` and
    ``or`` counts as true whatever is in it, as in Nova. ``$name`` is an attribute of HostState, ``$name.key`` the
    value under a key of it, ``$metrics.name`` a metric. Values that a host does not have are left out, so that a
    comparison of fewer than two values is not met.

    A text cannot be compared with a number, for example. A query that cannot be read refuses the request.
    """

    name = "JsonFilter"
    reasons = {
        NOT_COMPARABLE.code: "the query of the hint compares values of the host that cannot be compared, as a text "
        "with a number",
        NOT_MET.code: "the host does not meet the query of the hint",
    }

    def seen(self, request):
        return request.scheduler_hints.get("query", ())

    def follows(self, request):
        query = parsed(self.seen(request))
        return query is not None and not OF_USE.isdisjoint(names_in(query))

    def refusals(self, hosts, request, policy, scope):
        query = parsed(self.seen(request))
        if query is not None:
            met, failed = evaluate(query, hosts)
            yield Refusal(NOT_COMPARABLE, np.zeros(len(hosts), bool) if failed is None else failed)
            yield Refusal(NOT_MET, ~met)
