"""Nova's SchedulerReportClient, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project."""

import keystone_options
from nova import conf, context, exception, objects
from nova.scheduler import utils
from nova.scheduler.client import report

CONF = conf.CONF
objects.register_all()
_context = context.get_admin_context()
_client = []


def configure(facts):
    """Take how to reach the cloud, as nova.conf says it."""
    CONF([], project="nova", default_config_files=[])
    keystone_options.set_password(CONF, "placement", facts)
    _client[:] = [report.SchedulerReportClient()]


def call(method, *arguments):
    """What a method of the client returns."""
    return _plain(getattr(_client[0], method)(_context, *arguments))


def call_named(method, arguments, named):
    """The same, with arguments that have names."""
    return _plain(getattr(_client[0], method)(_context, *arguments, **named))


def error_of(method, *arguments):
    """[Class, text] of what a method of the client raises; None if it returns."""
    try:
        getattr(_client[0], method)(_context, *arguments)
    except Exception as error:
        return [type(error).__name__, str(error)]
    return None


def candidates(resources):
    """The allocation candidates of some amounts, as nova-scheduler asks for them."""
    request = utils.ResourceRequest()
    for name, amount in resources.items():
        request._add_resource(name, amount)
    return _plain(_client[0].get_allocation_candidates(_context, request))


def delete_host(uuid, name):
    """What nova-api does for a compute service that is deleted."""
    node = objects.ComputeNode(uuid=uuid, hypervisor_hostname=name, host=name)
    _client[0].delete_resource_provider(_context, node)


def update(root, name, providers, allocations=None):
    """Make a tree of providers as a driver does, and flush it. ``providers``: [name, parent, uuid, inventory, traits,
    aggregates] of each; a child whose uuid is None goes. Returns what the client has of the tree afterwards. After a
    conflict the tree is made again, so often as nova-compute does it."""
    for left in range(3, -1, -1):
        try:
            _update(root, name, providers, allocations)
            return read(root, name)
        except (exception.ResourceProviderUpdateConflict, exception.PlacementReshapeConflict):
            if not left:
                raise


def _update(root, name, providers, allocations):
    tree = _client[0].get_provider_tree_and_ensure_root(_context, root, name=name)
    for provider, parent, uuid, inventory, traits, aggregates in providers:
        if uuid is None:
            tree.remove(provider)
            continue
        if not tree.exists(provider):
            tree.new_child(provider, parent, uuid=uuid)
        tree.update_inventory(provider, inventory)
        tree.update_traits(provider, traits)
        tree.update_aggregates(provider, aggregates)
    _client[0].update_from_provider_tree(_context, tree, allocations=allocations)


def read(root, name):
    """Name -> (inventory, traits, aggregates) of a tree, as the client reads it from the API."""
    _client[0].clear_provider_cache()
    tree = _client[0].get_provider_tree_and_ensure_root(_context, root, name=name)
    found = {}
    for uuid in tree.get_provider_uuids_in_tree(root):
        data = tree.data(uuid)
        found[data.name] = [data.inventory, sorted(data.traits), sorted(data.aggregates), data.parent_uuid]
    return found


def _plain(value):
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if value is None or isinstance(value, bool | int | float | str | list):
        return value
    if hasattr(value, "allocations") or hasattr(value, "traits"):
        return [_plain(inner) for inner in value]
    return repr(value)


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (configure, call, call_named, error_of, candidates, delete_host, update, read)
