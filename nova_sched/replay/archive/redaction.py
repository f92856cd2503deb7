"""Redaction: remove personal and private data from events so that the decisions stay the same.

Equal texts become equal pseudonyms (a hash with the key of one export), so a comparison of texts has the same result.
The help of ``export`` lists what is hidden and what stays.
"""

import json
import re
from hashlib import blake2b

from nova_sched.projection import provider_tree
from nova_sched.projection.write_handlers import WRITE_HANDLERS
from nova_sched.replay.archive.pseudonyms import UUID, Pseudonyms
from nova_sched.replay.logs.matching import consumers_in
from nova_sched.selection.decide import summarize
from rpc_api import digest, errors, events
from rpc_api.objects.image_meta import ImageMetaProps
from rpc_api.packing import pack

#: Image properties of Nova that have a name, an owner or a free text.
PRIVATE_PROPERTIES = frozenset(
    {
        "img_owner_id",
        "os_admin_user",
        "os_command_line",
        "img_signature",
        "img_signature_certificate_uuid",
        "img_root_device_name",
    }
)
#: Metadata keys of aggregates that filters, weighers and request filters read; and prefixes and suffixes of such keys.
KEPT_METADATA = frozenset(
    {"availability_zone", "domain", "instance_type", "segment_id", "max_io_ops_per_host", "max_instances_per_host"}
)
PROJECT_KEY = "filter_tenant_id"
_KEPT_KEY = re.compile(r"trait:.*|.*_weight_multiplier|.*_allocation_ratio", re.DOTALL)
#: Hints whose values are uuids of instances and groups, or words of Nova.
_UUID_HINTS = frozenset({"group", "same_host", "different_host"})
_KEPT_HINTS = frozenset({"_nova_check_type", "query"})
_NETWORK = re.compile(r"/?[0-9a-fA-F.:]{0,45}")
_ADDRESS = re.compile(r"(?<![0-9.])\d{1,3}(?:\.\d{1,3}){3}(?![0-9.])")


class Known:
    """What redaction must know of the logs: ids of projects and users, metadata keys that flavors ask for, and policies
    (digest -> options)."""

    def __init__(self):
        self.ids = set()
        self.asked_keys = set()
        self.policies = {}

    def see(self, event) -> None:
        """Take in an :class:`~rpc_api.codec.Event`."""
        see = _SEE.get(event.name)
        if see is not None:
            see(self, event.data)
            self.ids -= {None, ""}

    def _see_decision(self, data):
        evidence = _thawed("Evidence", data.evidence)
        if evidence is not None:
            self.ids.update((evidence.request.project_id, evidence.request.user_id))
            self.asked_keys.update(key.rpartition(":")[2] for key in evidence.request.extra_specs)

    def _see_report(self, data):
        consumers = _thawed("HostConsumers", data.consumers)
        self.ids.update(consumer.project_id for consumer in (consumers.consumers if consumers else ()))

    def _see_write(self, data):
        self.ids.add(data.user_id)
        for one in consumers_in(data):
            self.ids.update((one.project_id, one.user_id))


#: The writes of Placement's API.
_WRITES = tuple(WRITE_HANDLERS)
_SEE = {
    **dict.fromkeys(_WRITES, Known._see_write),
    **dict.fromkeys(("DecisionMade", "DecisionCompared"), Known._see_decision),
    "HostReported": Known._see_report,
    "ClaimProposed": lambda self, data: self.ids.update((data.project_id, data.user_id)),
    "InstanceStarted": lambda self, data: self.ids.add(data.consumer.project_id),
    "PolicyAdopted": lambda self, data: self.policies.update({data.digest: data.options}),
}
#: For :func:`rpc_api.codec.decode_holding`: the events that a :class:`Known` takes in.
KNOWN_BY = [[name.encode() for name in _SEE]]


def _thawed(name, packed):
    try:
        return events.thaw(name, packed)
    except errors.InvalidEvent:
        return None


class Redactor:
    """Hides private data in events, with a ``key`` (bytes) that is not kept, and what is :class:`Known` of the logs."""

    def __init__(self, key: bytes, known: Known):
        #: The :class:`~nova_sched.replay.archive.pseudonyms.Pseudonyms` of this export.
        self.of = Pseudonyms(key, known.ids)
        self._known = known
        self._digests = {digest_: self._policy(digest_, options)[0] for digest_, options in known.policies.items()}

    # --- parts of events -------------------------------------------------------------------------------------------

    def properties(self, properties: dict) -> dict:
        """Redact image properties. Values of Nova's keys stay."""
        return {
            self.of.key(key): self.of.kept(value) if self._is_open(key) else self.of.word(value)
            for key, value in properties.items()
        }

    def _is_open(self, key):
        """Return whether the values of an image property, or of a metadata key with its name, stay."""
        return key not in PRIVATE_PROPERTIES and (key in ImageMetaProps.fields or key in self._known.asked_keys)

    def metadata(self, metadata: dict) -> dict:
        """Redact the metadata of an aggregate. Values of keys that filters, weighers or a flavor read stay."""
        return {self.of.key(key): self._metadata(key, value) for key, value in metadata.items()}

    def _metadata(self, key, value):
        if key in KEPT_METADATA or _KEPT_KEY.fullmatch(key):
            return value
        return self.of.kept(value) if self._is_open(key) and not key.startswith(PROJECT_KEY) else self.of.words(value)

    def hints(self, hints: dict) -> dict:
        """Redact scheduler hints. Hints that filters read keep their meaning."""
        return {self.of.key(name): tuple(self._hint(name, value) for value in values) for name, values in hints.items()}

    def _hint(self, name, value):
        if name == "build_near_host_ip":
            return self.of.address(value)
        if name == "query":
            return _ADDRESS.sub(lambda found: self.of.address(found[0]), self.of.kept(value))
        if (
            name in _KEPT_HINTS
            or (name in _UUID_HINTS and UUID.fullmatch(value))
            or (name == "cidr" and _NETWORK.fullmatch(value))
        ):
            return value
        return self.of.name(value)

    def guest(self, packed):
        """Redact a packed Guest. An unreadable one stays unreadable."""
        guest = packed and _thawed("Guest", packed)
        if not guest:
            return packed and b"\xc1"
        return pack(guest._replace(image_properties=self.properties(guest.image_properties)))

    def consumer(self, consumer):
        """Redact a Consumer of a host."""
        return consumer._replace(project_id=self.of.name(consumer.project_id), guest=self.guest(consumer.guest))

    def request(self, request):
        """Redact a SchedulingRequest."""
        return request._replace(
            project_id=self.of.name(request.project_id),
            user_id=self.of.name(request.user_id),
            extra_specs={self.of.key(key): self.of.kept(value) for key, value in request.extra_specs.items()},
            image_properties=self.properties(request.image_properties),
            scheduler_hints=self.hints(request.scheduler_hints),
        )

    def _policy(self, digest_, options):
        """Return the redacted (digest, options) of a policy. A digest that fitted the options fits the new ones."""
        hidden = self.of.kept(options)
        try:
            genuine = _digest_of(options) == digest_
            return _digest_of(hidden) if genuine else digest_, hidden
        except (ValueError, RecursionError, errors.InvalidEvent):
            return digest_, hidden

    # --- events ----------------------------------------------------------------------------------------------------

    def data(self, name: str, data):
        """Return the data of an event without private data. The caller corrects the digest of a HostConfirmed, because
        it depends on the folded state."""
        hide = _HIDE.get(name)
        return data if hide is None else hide(self, data)

    def _reported(self, data):
        hidden = self._inventory(data.inventory)
        status = data.status._replace(disabled_reason=self.of.text(data.status.disabled_reason))
        consumers = _thawed("HostConsumers", data.consumers)
        if consumers is None:
            return data._replace(inventory=hidden, status=status, consumers=b"\xc1")
        of = tuple(map(self.consumer, consumers.consumers))
        # A wrong digest stays wrong.
        change = digest.consumers_digest(of) - digest.consumers_digest(consumers.consumers)
        return data._replace(
            inventory=hidden,
            status=status,
            consumers=pack(consumers._replace(consumers=of)),
            consumers_digest=(data.consumers_digest + change) & digest.MASK,
        )

    def _inventory(self, packed):
        try:
            tree = provider_tree.read(packed)
        except errors.InvalidEvent:
            return b"\xc1"
        address = self.of.address(tree.inventory.host_ip)
        return provider_tree.packed(tree._replace(inventory=tree.inventory._replace(host_ip=address)))

    def _reported_providers(self, data):
        """Keep the tree of a host; of a provider that cannot be read nothing but its place stays."""
        try:
            providers, faults = provider_tree.read_providers(data.providers)
        except errors.InvalidEvent:
            return data._replace(providers=b"\xc1")
        marked = provider_tree.with_faults(providers, faults)
        return data._replace(providers=pack(events.ReportedProviders(marked)))

    def _decided(self, data):
        evidence = _thawed("Evidence", data.evidence)
        if evidence is None:
            return data._replace(evidence=b"\xc1")
        # Reasons quote keys. Reasons with the same number of hosts are in alphabetical order in the summary.
        hidden = evidence._replace(
            request=self.request(evidence.request),
            policy_digest=self._digests.get(evidence.policy_digest, evidence.policy_digest),
            refusals=tuple(refusal._replace(reason=self.of.key(refusal.reason)) for refusal in evidence.refusals),
        )
        genuine = data.reason == _summary(evidence)
        return data._replace(evidence=pack(hidden), reason=_summary(hidden) if genuine else self.of.key(data.reason))

    def _adopted(self, data):
        return data._replace(**dict(zip(("digest", "options"), self._policy(data.digest, data.options), strict=True)))

    def _tracked(self, data):
        return data._replace(
            instances=tuple(
                instance._replace(image_properties=self.properties(instance.image_properties))
                for instance in data.instances
            )
        )

    def _written(self, data):
        """Redact a write of Placement's API: who wrote, and whose the consumers are."""
        hidden = {"user_id": self.of.name(data.user_id), "request_id": self.of.kept(data.request_id)}
        if "consumers" in data._fields:
            hidden["consumers"] = tuple(map(self._consumer_put, data.consumers))
        if "consumer" in data._fields:
            hidden["consumer"] = self._consumer_put(data.consumer)
        return data._replace(**hidden)

    def _consumer_put(self, one):
        terms = one.terms and one.terms._replace(guest=self.guest(one.terms.guest))
        return one._replace(project_id=self.of.name(one.project_id), user_id=self.of.name(one.user_id), terms=terms)

    def _with_reason(self, data):
        return data._replace(reason=self.of.reason(data.reason))


def _summary(evidence):
    return summarize(evidence.survivors, evidence.hosts_total, evidence.refusals)


def _digest_of(options):
    """Return the digest as :attr:`nova_sched.selection.policy.Policy.digest`, also for a policy with a deployer's
    filters."""
    return blake2b(pack(json.loads(options)), digest_size=8).hexdigest()


#: Events with private data. All others have only names of hosts and cells, uuids and numbers.
_HIDE = {
    **dict.fromkeys(_WRITES, Redactor._written),
    "HostReported": Redactor._reported,
    "ProvidersReported": Redactor._reported_providers,
    "DecisionMade": Redactor._decided,
    # (Its text quotes what was compared.)
    "DecisionCompared": lambda self, data: self._decided(data)._replace(text=self.of.text(data.text)),
    "PolicyAdopted": Redactor._adopted,
    "InstancesTracked": Redactor._tracked,
    "BuildFailed": Redactor._with_reason,
    "ClaimReleased": Redactor._with_reason,
    "HostLost": Redactor._with_reason,
    "HostRemoved": Redactor._with_reason,
    "HostDisabled": Redactor._with_reason,
    # (It quotes the request.)
    "RequestRefused": lambda self, data: data._replace(reason=self.of.text(data.reason)),
    "ClaimProposed": lambda self, data: data._replace(
        project_id=self.of.name(data.project_id), guest=self.guest(data.guest), user_id=self.of.name(data.user_id)
    ),
    "InstanceStarted": lambda self, data: data._replace(consumer=self.consumer(data.consumer)),
    # A state has all the ids. Without its bytes the checkpoint is skipped.
    "StateKept": lambda self, data: data._replace(content=b""),
    "AggregateUpdated": lambda self, data: data._replace(
        name=self.of.key(data.name), metadata=self.metadata(data.metadata)
    ),
}
