"""The callers of select_destinations in nova's conductor: run by the peer's own Python, beneath
:mod:`tests.against_nova.peer_loop`.

Nova's own code runs, and its databases, Neutron and Placement are stubs. Imports nothing of this project.
"""

import contextlib
import json
import types
from unittest import mock

import nova.conf
from nova import context as nova_context
from nova import objects, rpc
from nova.compute import utils as compute_utils
from nova.conductor import manager
from nova.conductor.tasks import live_migrate, migrate
from nova.scheduler.client import report
from oslo_messaging._drivers import common
from placement import util as placement_util
from placement.schemas import allocation as placement_schema

nova.conf.CONF([], default_config_files=[])
objects.register_all()

UUID = "11111111-1111-4111-8111-111111111111"
TASKS = manager.ComputeTaskManager


class Called:
    """One call of a caller: what was saved of instance and migration, its faults, how often hosts were asked for."""

    def __init__(self, failure):
        self.error = common.deserialize_remote_exception(failure, rpc.ALLOWED_EXMODS)
        self.state, self.faults, self.migration, self.asked = {}, [], None, 0

    def select_destinations(self, *arguments, **named):
        self.asked += 1
        raise self.error

    def save_instance(self, instance, *arguments, **named):
        self.state.update(
            {name: getattr(instance, name) for name in ("vm_state", "task_state") if instance.obj_attr_is_set(name)}
        )

    def save_migration(self, migration):
        self.migration = migration.status

    def add_fault(self, context, instance, fault, *arguments, **named):
        self.faults.append(compute_utils.exception_to_dict(fault)["message"])


def _instance(context, vm_state, task_state):
    flavor = objects.Flavor(
        id=1,
        flavorid="f",
        name="f",
        vcpus=1,
        memory_mb=1,
        root_gb=1,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        vcpu_weight=0,
        disabled=False,
        is_public=True,
        extra_specs={},
    )
    instance = objects.Instance(
        context,
        uuid=UUID,
        host="source",
        node="source",
        vm_state=vm_state,
        task_state=task_state,
        system_metadata={},
        flavor=flavor,
        instance_type_id=1,
        project_id="p",
        user_id="u",
        image_ref="",
        numa_topology=None,
        power_state=1,
        availability_zone="nova",
    )
    instance.obj_reset_changes()
    return instance


def _spec():
    spec = mock.MagicMock()
    spec.flavor.extra_specs = {}
    spec.to_legacy_request_spec_dict.return_value = spec.to_legacy_filter_properties_dict.return_value = {}
    return spec


def _build(tasks, context):
    instance = _instance(context, None, "scheduling")
    request = types.SimpleNamespace(instance_uuid=UUID, get_new_instance=lambda context: instance, destroy=lambda: None)
    tasks.schedule_and_build_instances(context, [request], [_spec()], None, None, None, None, None)


def _cold_migrate(tasks, context):
    instance = _instance(context, "active", "resize_prep")
    tasks._cold_migrate(context, instance, instance.flavor, {}, True, _spec_object(), None)


def _spec_object():
    spec = _spec()
    # So that it is taken for one.
    spec.__class__ = objects.RequestSpec
    return spec


def _live_migrate(tasks, context):
    tasks._live_migrate(context, _instance(context, "active", "migrating"), {}, False, False, _spec())


def _unshelve(tasks, context):
    TASKS.unshelve_instance.__wrapped__(tasks, context, _instance(context, "shelved_offloaded", "unshelving"), _spec())


def _rebuild(tasks, context, evacuate=False):
    TASKS.rebuild_instance.__wrapped__(
        tasks,
        context,
        _instance(context, "active", "rebuilding"),
        "",
        "" if evacuate else "other",
        None,
        None,
        {},
        [],
        evacuate,
        False,
        request_spec=_spec(),
    )


CALLERS = {
    "build": _build,
    "cold migrate": _cold_migrate,
    "live migrate": _live_migrate,
    "unshelve": _unshelve,
    "rebuild": _rebuild,
    "evacuate": lambda tasks, context: _rebuild(tasks, context, True),
}


@contextlib.contextmanager
def _stubs(one):
    """What would ask a database or another service."""
    migration = objects.Migration(status="accepted")
    nothing = contextlib.nullcontext
    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (objects.Instance, "save", lambda self, *given, **named: one.save_instance(self)),
            (objects.Instance, "create", lambda self: None),
            (objects.Instance, "refresh", lambda self: None),
            (objects.Migration, "create", lambda self: None),
            (objects.Migration, "save", lambda self: one.save_migration(self)),
            (objects.Migration, "get_by_instance_and_status", lambda *given: migration),
            (objects.MigrationList, "get_by_filters", lambda *given: objects.MigrationList(objects=[])),
            (objects.CellMapping, "get_by_uuid", mock.Mock()),
            (objects.InstanceMapping, "get_by_instance_uuid", lambda *given: mock.MagicMock(cell_mapping=None)),
            (compute_utils, "add_instance_fault_from_exc", one.add_fault),
            (compute_utils, "EventReporter", lambda *given: nothing()),
            (compute_utils, "heal_reqspec_is_bfv", mock.Mock()),
            (compute_utils, "notify_about_compute_task_error", mock.Mock()),
            (manager, "obj_target_cell", lambda *given: nothing()),
            (rpc, "get_notifier", mock.Mock()),
            (manager.scheduler_utils, "setup_instance_group", mock.Mock()),
            (manager.scheduler_utils, "populate_retry", mock.Mock()),
            (TASKS, "_create_instance_action_for_cell0", mock.Mock()),
            (TASKS, "_restrict_request_spec_to_cell", mock.Mock()),
            (TASKS, "_validate_image_traits_for_rebuild", mock.Mock()),
            (migrate, "replace_allocation_with_migration", lambda *given: (None, None)),
            (migrate.MigrationTask, "_set_requested_destination_cell", mock.Mock()),
            (live_migrate.neutron, "API", lambda: _network()),
            (live_migrate.LiveMigrationTask, "_check_host_is_up", mock.Mock()),
            (live_migrate.LiveMigrationTask, "_get_source_cell_mapping", mock.Mock()),
            (live_migrate.objects, "Destination", mock.Mock()),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        yield


def _network():
    return mock.Mock(get_requested_resource_for_instance=lambda *given: ([], None))


def call(caller, failure):
    """Call one of the CALLERS while select_destinations fails with what came over the wire."""
    one = Called(failure)
    tasks = TASKS.__new__(TASKS)
    tasks.query_client, tasks.network_api, tasks.host = one, _network(), "conductor"
    tasks.compute_rpcapi = tasks.servicegroup_api = mock.Mock()
    tasks.image_api = tasks.notifier = mock.Mock()
    raised = None
    with _stubs(one), mock.patch.object(TASKS, "report_client", mock.Mock()):
        try:
            CALLERS[caller](tasks, nova_context.get_admin_context())
        except Exception as error:
            raised = next(one.__name__ for one in type(error).__mro__ if not one.__name__.endswith("_Remote"))
    return {"raised": raised, "asked": one.asked, "state": one.state, "faults": one.faults, "migration": one.migration}


def claimed(allocation_request, version):
    """The payload that nova's report client puts for an allocation_request, and what Placement's schema of that
    microversion finds wrong with it."""
    client, found = report.SchedulerReportClient.__new__(report.SchedulerReportClient), []

    def put(url, payload, **named):
        found.append(payload)
        return types.SimpleNamespace(status_code=204)

    client.get = lambda *given, **named: types.SimpleNamespace(status_code=404)
    client.put = put
    report.SchedulerReportClient.claim_resources(
        client, nova_context.get_admin_context(), UUID, json.loads(allocation_request), "p", "u", version
    )
    try:
        placement_util.extract_json(json.dumps(found[0]), placement_schema.ALLOCATION_SCHEMA_V1_34)
    except Exception as error:
        return {"payload": found[0], "wrong": str(error)}
    return {"payload": found[0], "wrong": None}


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (call, claimed)
