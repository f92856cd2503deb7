"""Options of the Placement API. What Placement has an option for is also read under Placement's own name."""

from collections.abc import Sequence

from oslo_config import cfg
from oslo_middleware import cors, healthcheck, http_proxy_to_wsgi
from oslo_policy import opts as policy_opts

from rpc_api import config, errors
from rpc_api.own_name import own_name

KEYSTONE, NOAUTH = "keystone", "noauth2"
DEPTH_FIRST, BREADTH_FIRST = "depth-first", "breadth-first"
#: Project and user of consumers that clients before microversion 1.8 write.
INCOMPLETE = "00000000-0000-0000-0000-000000000000"


def _placements(name: str, group: str = "placement") -> list[cfg.DeprecatedOpt]:
    """The name that an option has in Placement's configuration."""
    return [cfg.DeprecatedOpt(name, group=group)]


GROUP = cfg.OptGroup("placement_api", "The Placement API that nova_sched serves")
OPTS = [
    cfg.HostAddressOpt("bind_host", default="0.0.0.0", help="Address on which the API listens."),
    cfg.PortOpt("bind_port", default=8778, help="Port on which the API listens."),
    cfg.IntOpt("threads", default=8, min=1, help="Requests that one process answers side by side."),
    cfg.IntOpt(
        "connections",
        default=4096,
        min=1,
        help="Connections of clients that one process keeps open, as far as the limit of open files allows. Further "
        "clients wait until one of them ends. One over which nothing comes for a minute is closed.",
    ),
    own_name("Name of this machine's workers in the logs: each is placement/NAME-NUMBER there."),
    cfg.StrOpt(
        "state_dir",
        help="Absolute path of a directory that all workers of this machine share, a few kilobytes. The default is "
        "nova_sched in the runtime directory of the service or of its user (RUNTIME_DIRECTORY, XDG_RUNTIME_DIR), or a "
        "directory of the user in the directory for temporary files.",
    ),
    cfg.BoolOpt(
        "other_machines",
        default=True,
        help="Whether workers on other machines serve the same logs. Then each GET /allocations/{consumer} waits until "
        "everything is read that any of them wrote, which costs a round trip to the log.",
    ),
    cfg.StrOpt(
        "auth_strategy",
        default=KEYSTONE,
        choices=(
            (KEYSTONE, "Keystone checks the token of each request. [keystone_authtoken] says how."),
            (NOAUTH, "No token is checked, and every client may act as an administrator. For tests only."),
        ),
        deprecated_opts=_placements("auth_strategy", "api"),
        help="How requests are authenticated.",
    ),
    cfg.ListOpt(
        "cells",
        default=[],
        help="Names of the cells that this endpoint serves, of those in [cells] enabled. The default is all of them: "
        "the endpoint of the region. The endpoint inside a cell names that cell only.",
    ),
    cfg.StrOpt(
        "new_roots",
        help="Name of the cell into whose log this endpoint writes providers that have no parent. The default is the "
        "only cell of the endpoint, or cell0 (the log of the API level) if it serves several.",
    ),
    cfg.IntOpt(
        "max_body_bytes",
        default=4 * 1024 * 1024,
        min=1024,
        help="Greatest size of the body of a request, in bytes. A larger one is answered with 413.",
    ),
    cfg.BoolOpt(
        "randomize_allocation_candidates",
        default=False,
        deprecated_opts=_placements("randomize_allocation_candidates"),
        help="Whether a limit of allocation candidates takes a random sample of all. Without it the first ones are "
        "taken, in an order that is the same each time.",
    ),
    cfg.IntOpt(
        "max_allocation_candidates",
        default=-1,
        min=-1,
        deprecated_opts=_placements("max_allocation_candidates"),
        help="Allocation candidates that are made for one request at most, before its own limit is applied. -1 means "
        "no limit. With deep trees of many equal providers, 100000 is a good start.",
    ),
    cfg.StrOpt(
        "allocation_candidates_generation_strategy",
        default=DEPTH_FIRST,
        choices=(
            (DEPTH_FIRST, "All candidates of one root provider, then those of the next."),
            (BREADTH_FIRST, "One candidate of each root provider, then the second one of each."),
        ),
        deprecated_opts=_placements("allocation_candidates_generation_strategy"),
        help="The order in which allocation candidates are made. It matters where max_allocation_candidates or a "
        "client limits them.",
    ),
    cfg.StrOpt(
        "incomplete_consumer_project_id",
        default=INCOMPLETE,
        deprecated_opts=_placements("incomplete_consumer_project_id"),
        help="Project of the consumers that clients write with a microversion before 1.8, which has no project.",
    ),
    cfg.StrOpt(
        "incomplete_consumer_user_id",
        default=INCOMPLETE,
        deprecated_opts=_placements("incomplete_consumer_user_id"),
        help="User of the consumers that clients write with a microversion before 1.8, which has no user.",
    ),
]


def list_opts() -> list[tuple[cfg.OptGroup, Sequence[cfg.Opt]]]:
    """The options of the Placement API, for oslo-config-generator."""
    return [(GROUP, OPTS)]


def register(conf: cfg.ConfigOpts) -> None:
    """Register the options of the Placement API, those that all services share, and those of its middleware."""
    config.register(conf, list_opts())
    conf.register_opts(cors.OPTS, "cors")
    conf.register_opts(http_proxy_to_wsgi.OPTS, "oslo_middleware")
    conf.register_opts(healthcheck.opts.HEALTHCHECK_OPTS, "healthcheck")
    policy_opts.set_defaults(conf)


def served_cells(conf: cfg.ConfigOpts) -> list[config.Cell]:
    """The cells that this endpoint serves; UsageError for what is missing or wrong."""
    names = conf.placement_api.cells
    if not names:
        return config.cells_of(conf, uuid_wanted=False)
    if len(set(names)) < len(names):
        raise errors.UsageError(
            f"[placement_api] cells names a cell twice ({', '.join(names)}); fix it in the configuration"
        )
    unknown = [name for name in names if name not in conf.cells.enabled]
    if unknown:
        raise errors.UsageError(
            f"[placement_api] cells names {unknown[0]!r}, wanted some of [cells] enabled "
            f"({', '.join(conf.cells.enabled)}); fix it in the configuration"
        )
    return [config.cell_of(conf, name, uuid_wanted=False) for name in names]


def new_roots_of(conf: cfg.ConfigOpts) -> str:
    """Name of the log into which providers without a parent go: the configured one, or that of the only cell, or cell0;
    UsageError if the endpoint does not serve it."""
    served = [cell.name for cell in served_cells(conf)]
    name: str | None = conf.placement_api.new_roots
    if name is None:
        return served[0] if len(served) == 1 else config.CELL0
    if name != config.CELL0 and name not in served:
        raise errors.UsageError(
            f"[placement_api] new_roots is {name!r}, wanted {config.CELL0} or the name of a cell that the endpoint "
            f"serves ({', '.join(served)}); fix it in the configuration"
        )
    return name
