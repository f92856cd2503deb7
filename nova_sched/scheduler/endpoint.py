"""The RPC endpoint of the scheduler: Nova's interface on the topic ``scheduler``, version 4.5."""

import functools
import json
import logging
import uuid

from nova_sched.hosts.aggregates import metadata_faults
from nova_sched.request.from_spec import request_from
from nova_sched.request.instances import image_properties_of
from nova_sched.request.networks import NotConfigured, with_networks
from nova_sched.scheduler.asked import checked_uuids, in_named_cell, instances_of, line_of, readable, request_id_of
from nova_sched.scheduler.notifications import Silent
from nova_sched.scheduler.unavailable import told_of
from rpc_api import errors, events
from rpc_api.bus import Answer, expected
from rpc_api.concurrency import is_out_of_threads, or_fail, report_if_out_of_threads
from rpc_api.contracts.scheduler import wants_terms
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects.aggregate import Aggregate, AggregateList
from rpc_api.objects.base import parse_version
from rpc_api.objects.network import NetworkMetadata
from rpc_api.objects.numa import NUMATopologyLimits
from rpc_api.objects.selection import SchedulerLimits, Selection

LOG = logging.getLogger(__name__)

ALLOCATION_REQUEST_VERSION = "1.36"


def _cast(method):
    """Decorate a cast: its caller gets no error, so an error is logged."""

    @functools.wraps(method)
    def noted(self, context, *arguments, **named):
        try:
            return method(self, context, *arguments, **named)
        except errors.NovaSchedError as fault:
            LOG.warning("%s is not noted: %s", method.__name__, fault)
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as fault:
            wrong = errors.UsageError(
                f"the cast {method.__name__} cannot be read ({str(fault)[:200]}), "
                "wanted the arguments of Nova 34; fix the service that sends it"
            )
            LOG.warning("%s is not noted: %s", method.__name__, wrong)
            raise wrong from None

    return noted


def _call(method):
    """Decorate a call: any error, raised or in its Future, becomes an error that Nova's conductor knows."""

    @functools.wraps(method)
    def called(self, context, *arguments, **named):
        def told(fault):
            return told_of(
                fault,
                request_id_of(context),
                named.get("spec_obj"),
                bool(named.get("return_alternates")),
                self._is_lost,
            )

        def pass_on(done):
            fault = done.exception()
            if fault is None:
                answered.on_not_delivered = done.on_not_delivered
                answered.set_result(done.result())
            else:
                answered.set_exception(told(fault))

        try:
            asked, answered = method(self, context, *arguments, **named), Answer()
        except Exception as fault:
            raise told(fault) from None
        asked.add_done_callback(pass_on)
        return answered

    return called


class SchedulerEndpoint:
    """Answers nova-conductor's calls with the decisions of a :class:`~nova_sched.scheduler.service.Scheduler`.

    ``networks`` is the source of ports and networks. With ``gives_terms`` the ``allocation_request`` always has the
    terms of the claim, also for callers that do not ask for them: only nova_sched's own Placement API accepts these.
    ``notifications`` emits that decisions begin and end.
    """

    RPC_METHODS = (
        "select_destinations",
        "update_aggregates",
        "delete_aggregate",
        "update_instance_info",
        "delete_instance_info",
        "sync_instance_info",
    )

    def __init__(self, scheduler, networks=None, gives_terms=False, notifications=None):
        self._scheduler = scheduler
        self._networks = networks or NotConfigured()
        self._notifications = notifications or Silent()
        self.gives_terms = gives_terms

    @_call
    def select_destinations(
        self,
        context,
        request_spec=None,
        filter_properties=None,
        spec_obj=None,
        instance_uuids=None,
        return_objects=False,
        return_alternates=False,
    ):
        """Return one list of Selection objects per instance: its claimed host, then alternates of the same cell.
        Without ``return_objects`` (older conductors) return one dictionary per instance. The result is a Future: see
        rpc_api.bus.

        NoValidHost if the instances cannot all be placed. ServiceUnavailable or a similar error if that is not known
        (see nova_sched.scheduler.unavailable). The text of both is safe for the end user.
        """
        request_id = request_id_of(context)
        answered, uuids = Answer(), ()
        try:
            uuids = checked_uuids(instance_uuids) if instance_uuids else ()
            uuids = uuids or checked_uuids(instances_of(spec_obj))
            request = in_named_cell(request_from(readable(spec_obj), request_id, uuids), self._scheduler.cells.values())
        except Exception as fault:
            return self._refused(request_id, uuids, fault)
        try:
            request = with_networks(
                request,
                spec_obj,
                self._networks,
                self._scheduler.engine.policy.query_placement_for_routed_network_aggregates,
            )
        except errors.NovaSchedError as fault:
            return self._refused(request_id, uuids, fault)
        self._notifications.start(context, spec_obj)
        alternates = self._scheduler.policy.max_attempts - 1 if return_objects and return_alternates else 0
        asked = self._scheduler.select(request, uuids, alternates)
        with_terms = self.gives_terms or wants_terms(filter_properties)
        asked.add_done_callback(
            lambda done: or_fail(answered, self._answer, request_id, done, answered, return_objects, with_terms)
        )
        answered.add_done_callback(
            lambda done: self._notifications.end(context, spec_obj) if done.exception() is None else None
        )
        return answered

    def unreadable(self, context, method, arguments, fault):
        """Answer a call whose context or arguments cannot be read: see rpc_api.bus."""
        if method != "select_destinations":
            LOG.warning("%s is not noted: %s", method, fault)
            raise fault
        try:
            uuids = checked_uuids(arguments.get("instance_uuids"))
        except errors.UsageError:
            uuids = ()
        return self._refused(request_id_of(context), uuids, fault)

    def _refused(self, request_id, uuids, fault):
        """Answer a request that cannot be decided, and record the reason: NoValidHost, unless a service that is needed
        for the decision cannot be reached."""
        if is_out_of_threads(fault):
            report_if_out_of_threads(fault)
            fault = errors.ServiceUnavailable("this scheduler has no memory left, and ends; try again")
        if not isinstance(fault, errors.NovaSchedError):
            LOG.debug("what cannot be read of request %s", request_id, exc_info=fault)
            fault = errors.UsageError(
                f"the request cannot be read ({type(fault).__name__}: {fault!s:.200}), wanted "
                "the arguments of Nova 34; use a conductor of that version"
            )
        reason = line_of(fault)
        LOG.info("request %s cannot be placed: %s", request_id, reason)
        self._scheduler.refuse(request_id, uuids, reason)
        answered = Answer()
        answered.set_exception(fault if isinstance(fault, errors.ServiceUnavailable) else NoValidHost(reason=reason))
        return answered

    def _is_lost(self, host):
        """Return whether a host is known to be down: it is lost, or it is forced down."""
        known = [
            projection.hosts[host]
            for projection in list(self._scheduler.engine.world.projections.values())
            if host in projection.hosts
        ]
        return any(host_.lost or (host_.status is not None and host_.status.forced_down) for host_ in known)

    def _answer(self, request_id, done, answered, return_objects, with_terms):
        fault = done.exception()
        if isinstance(fault, errors.NoHostFound):
            refusal = NoValidHost(reason=str(fault))
            refusal.summary = fault.summary
            answered.set_exception(refusal)
            return
        if isinstance(fault, errors.UsageError):
            # A filter found that the request makes no sense.
            LOG.info("request %s cannot be placed: %s", request_id, fault)
        try:
            selections = [[self._selection(placed, with_terms) for placed in chosen] for chosen in done.result()]
            claims = [(chosen[0].cell, chosen[0].claim_uuid) for chosen in done.result()]
            answered.on_not_delivered = lambda: self._tell(
                "the end of the caller", lambda engine: engine.on_not_delivered(claims)
            )
            answered.set_result(selections if return_objects else [_legacy(selection[0]) for selection in selections])
        except Exception as failed:
            # From the request, or from making the answer: a Future swallows what its callbacks raise.
            answered.set_exception(failed)

    def _selection(self, placed, with_terms):
        # A rebuild claims nothing, and an empty allocation would remove what the instance holds.
        request = allocation_request(placed, with_terms) if placed.allocations or with_terms else None
        return Selection(
            compute_node_uuid=placed.root_uuid,
            service_host=placed.host,
            nodename=placed.nodename,
            cell_uuid=self._scheduler.cells[placed.cell].uuid,
            limits=SchedulerLimits.from_dict({"numa_topology": _numa_limits(placed.numa_limits)}),
            allocation_request=request,
            allocation_request_version=request and ALLOCATION_REQUEST_VERSION,
            availability_zone=placed.availability_zone,
        )

    # --- casts of nova-api and nova-compute --------------------------------------------------------------------

    @_cast
    def update_aggregates(self, context, aggregates):
        """Publish host aggregates. An aggregate that is in the log already changes nothing."""
        aggregates = [aggregates] if isinstance(aggregates, Aggregate) else aggregates
        if not isinstance(aggregates, (list, tuple, AggregateList)):
            raise TypeError(f"aggregates are a {type(aggregates).__name__}")
        updated = [_aggregate(aggregate) for aggregate in aggregates]
        for fault in (fault for aggregate in updated for fault in metadata_faults(aggregate)):
            LOG.warning("%s", fault)
        for aggregate in updated:
            self._tell(
                f"the aggregate {aggregate.name}", lambda engine, aggregate=aggregate: engine.on_aggregate(aggregate)
            )

    @_cast
    def delete_aggregate(self, context, aggregate):
        """Publish that a host aggregate was deleted."""
        gone = str(aggregate.uuid)
        self._tell(f"the end of the aggregate {gone}", lambda engine: engine.on_aggregate_deleted(gone))

    @_cast
    def update_instance_info(self, context, host_name, instance_info):
        """Publish instances that a host has."""
        self._note_instances(host_name, _instances(instance_info), ())

    @_cast
    def delete_instance_info(self, context, host_name, instance_uuid):
        """Publish that a host does not have an instance any more."""
        self._note_instances(host_name, {}, [instance_uuid])

    @_cast
    def sync_instance_info(self, context, host_name, instance_uuids):
        """Publish all instances of a host."""
        self._note_instances(host_name, {instance_uuid: {} for instance_uuid in instance_uuids}, (), True)

    def _note_instances(self, host, instances, gone, all_of_them=False):
        try:
            instances = {str(uuid.UUID(instance)): properties for instance, properties in instances.items()}
            gone = [str(uuid.UUID(instance_uuid)) for instance_uuid in gone]
        except (ValueError, AttributeError, TypeError):
            raise errors.UsageError(
                f"the instances that {host} casts have an id that is not a UUID; fix the nova-compute that sends it"
            ) from None
        if not isinstance(host, str):
            raise errors.UsageError(
                f"a host has the name {host!r:.80}, wanted a text; fix the nova-compute that sends it"
            )
        self._tell(
            f"the list of instances of {host}", lambda engine: engine.on_instances(host, instances, gone, all_of_them)
        )

    def _tell(self, what, function):
        """Run a function of the engine, and log a warning if it fails."""
        self._scheduler.call(function).add_done_callback(
            lambda done: (
                done.exception() is None or LOG.warning("%s is not noted: %s", what, expected(done.exception()))
            )
        )


def _instances(instance_info):
    """Return instance uuid -> image properties from the primitive of an InstanceList."""
    found = {}
    for item in _data(instance_info, "InstanceList", (2, 6)).get("objects", ()):
        data = _data(item, "Instance", (2, 8))
        said = {
            name.removeprefix("image_"): value
            for name, value in (data.get("system_metadata") or {}).items()
            if name.startswith("image_")
        }
        found[data["uuid"]] = image_properties_of(said)
    return found


def _data(primitive, name, newest):
    """Return the fields of a primitive of Nova; UnknownSchema for another object or an unknown version."""
    version = parse_version(primitive["nova_object.version"])
    if primitive["nova_object.name"] != name or version is None or not (newest[0], 0) <= version <= newest:
        raise errors.UnknownSchema(
            f"the object is {primitive['nova_object.name']!s:.80} {primitive['nova_object.version']!s:.40}, wanted "
            f"{name} {newest[0]}.0 to {newest[0]}.{newest[1]}; upgrade this scheduler"
        )
    return primitive["nova_object.data"]


def _aggregate(aggregate):
    return events.AggregateUpdated(
        str(aggregate.uuid),
        aggregate.name,
        tuple(aggregate.hosts or ()),
        {str(key): str(value) for key, value in (aggregate.metadata or {}).items()},
    )


def allocation_request(placed, with_terms: bool = False) -> str:
    """Return the JSON of Selection.allocation_request: exactly the form of Placement's PUT /allocations, which refuses
    any other key and empty ``mappings``. ``with_terms`` adds the key ``nova_sched`` with the data that our own
    conductor needs to claim, release or build it (:mod:`rpc_api.contracts.selections`)."""
    allocations = {}
    for allocation in placed.allocations:
        allocations.setdefault(allocation.provider_uuid, {"resources": {}})["resources"][allocation.resource_class] = (
            allocation.amount
        )
    request = {"allocations": allocations}
    if placed.mappings:
        request["mappings"] = placed.mappings
    if with_terms:
        request["nova_sched"] = {
            "cell": placed.cell,
            "claim_uuid": placed.claim_uuid,
            "position": placed.position,
            "rule": list(placed.rule) if placed.rule is not None else None,
            "guest": None if placed.guest is None else placed.guest.hex(),
            "companion": placed.companion,
            **({} if placed.user_id is None else {"user_id": placed.user_id}),
        }
    return json.dumps(request, sort_keys=True)


def _numa_limits(limits):
    """Return the NUMATopologyLimits of NUMALimits; None for None."""
    if limits is None:
        return None
    said = {"cpu_allocation_ratio": limits.cpu_ratio, "ram_allocation_ratio": limits.ram_ratio}
    if limits.networks:
        said["network_metadata"] = NetworkMetadata(physnets=set(limits.physnets), tunneled=limits.tunneled)
    return NUMATopologyLimits(**said)


def _legacy(selection):
    limits = selection.limits.to_dict()
    if "numa_topology" in limits:
        limits["numa_topology"] = limits["numa_topology"].obj_to_primitive()
    return {"host": selection.service_host, "nodename": selection.nodename, "limits": limits}
