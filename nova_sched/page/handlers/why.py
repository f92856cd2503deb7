"""The search, and the answers to why and why not."""

from nova_sched.page.answers import as_json

#: Hosts that a search names at most.
HOSTS_MAX = 20
#: Characters with which an id begins at least.
LEAST_PREFIX = 8


def search(asked):
    """What a text may mean: hosts by a part of their name, and whether it may be an id."""
    text, topology = asked.needed("q"), asked.page.cloud.shown.topology
    hosts = []
    if asked.project is None:
        names = topology.names
        exact = [name for name in names if name == text]
        begins = [name for name in names if name.startswith(text) and name != text]
        within = [name for name in names if text in name and not name.startswith(text)] if not begins else []
        hosts = [*exact, *begins, *within]
    return as_json(
        {
            "hosts": hosts[:HOSTS_MAX],
            "more": max(0, len(hosts) - HOSTS_MAX),
            "may_be_id": len(text) >= LEAST_PREFIX and text not in hosts[:1],
        }
    )


def explain(asked):
    """Why a request or an instance went where it went."""
    explainer, key = asked.page.explainer, asked.needed("key")
    if asked.project is not None:
        return as_json(explainer.explain_to(asked.project, key))
    return as_json(explainer.explain(key, asked.number("attempt", None, 1, 10_000)))


def why_not(asked):
    """Why a host was not chosen for a request."""
    return as_json(
        asked.page.explainer.why_not(
            asked.needed("key"), asked.needed("host"), asked.number("attempt", None, 1, 10_000), asked.text("instance")
        )
    )
