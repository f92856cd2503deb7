"""A cloud of two projects, and a Keystone that knows their users."""

from nova_sched.page.keystone import Keystone
from nova_sched.page.policies import Rules
from rpc_api import events
from tests.builders import claim, decision, expired, group, report, request, started, uuid_of
from tests.nova_sched.page.pages import LogsOf, Served
from tests.nova_sched.replay.logs import Written
from tests.placement_api.keystone import HOUR, token

MINE, OTHER = "mine", "foreign"
#: (User, password, project) of those who may log in -> the text of the token.
USERS = {
    ("alice", "secret-a", MINE): "token-alice",
    ("bob", "secret-b", OTHER): "token-bob",
    ("boss", "secret-c", "admins"): "token-boss",
    ("reader", "secret-d", None): "token-reader",
    ("nobody", "secret-e", None): "token-nobody",
    ("late", "secret-f", MINE): "token-late",
}
TOKENS = {
    "token-alice": token("alice", MINE, ("member", "reader")),
    "token-bob": token("bob", OTHER, ("member",)),
    "token-boss": token("boss", "admins", ("admin",)),
    "token-reader": token("reader", roles=("reader",), system=True),
    "token-nobody": token("nobody", roles=("member",), system=True),
    "token-late": token("late", MINE, ("member",), age=HOUR),
}
#: Texts in the logs that no project may see: hosts, cells, services, filters' counts.
OF_OPERATORS = ("secret-host", "cell-secret", "scheduler/", "conductor/", "compute_agent/", "1/4 hosts", "racks-full")


def asked_by(project, name):
    """A request of a project, which names hosts as a conductor does after a failed build."""
    return request(
        group(VCPU=1),
        request_id=f"req-{name}",
        project_id=project,
        ignore_hosts=("secret-host-2",),
        flavor_name="m1.tiny",
    )


def claimed(project, name, host):
    """A claim of a project."""
    return claim(name, host)._replace(project_id=project)


def written(cell="cell-secret") -> Written:
    """A log in which each project has an instance, a refusal, a refused claim, a failed build and an expired claim."""
    log = Written(*(report(f"secret-host-{number}") for number in (1, 2, 3)), cell=cell)
    for number, project in enumerate((MINE, OTHER), 1):
        host, name = f"secret-host-{number}", f"{project}-vm"
        log.say(decision(name, host, cell=cell, asked=asked_by(project, name)), claimed(project, name, host))
        log.say(started(name, host))
        log.say(
            decision(
                f"{project}-refused",
                cell=cell,
                asked=asked_by(project, f"{project}-refused"),
                refusals=[("ResourceFilter", "racks-full", 3)],
            )
        )
        log.say(claimed(project, f"{project}-lost", "secret-host-9"))
        log.say(claimed(project, f"{project}-failed", host))
        log.say(events.BuildFailed(uuid_of(f"{project}-failed"), f"req-{project}-failed", host, 1, "racks-full", True))
        log.say(claimed(project, f"{project}-late", host))
        log.say(expired(f"{project}-late"))
        log.say(events.RequestRefused(f"req-{project}-bad", (uuid_of(f"{project}-bad"),), "racks-full"))
    log.say(events.HostLost("secret-host-3", "racks-full"))
    return log


def served(keystone, log=None, **values) -> Served:
    """A page with a login over the cloud of two projects."""
    made = Served(
        LogsOf(**{"cell-secret": (log or written()).log}), auth_url=keystone.url, default_domain="Default", **values
    )
    made.page.keystone = Keystone(made.conf, Rules(made.conf))
    return made
