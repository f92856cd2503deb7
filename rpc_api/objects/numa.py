"""NUMA: the requested topology of a guest, and the limits with which it was fitted to a host."""

from collections.abc import Iterable
from typing import Any

from oslo_versionedobjects import base as ovo
from oslo_versionedobjects import fields as ovo_fields

from rpc_api import errors
from rpc_api.objects import base, fields


@base.register
class VirtCPUTopology(base.NovaObject):
    """Sockets, cores and threads of a guest."""

    VERSION = "1.0"
    fields = {
        "sockets": fields.IntegerField(nullable=True, default=1),
        "cores": fields.IntegerField(nullable=True, default=1),
        "threads": fields.IntegerField(nullable=True, default=1),
    }
    threads: int | None


@base.register
class InstanceNUMACell(base.EphemeralObject, ovo.VersionedObjectDictCompat):
    """One NUMA node of a guest: its CPUs (shared and pinned), its memory, and the host CPUs of the pinned ones."""

    VERSION = "1.6"
    fields = {
        "id": fields.IntegerField(),
        "cpuset": fields.SetOfIntegersField(),
        "pcpuset": fields.SetOfIntegersField(),
        # Host CPUs that the hypervisor itself uses for this guest.
        "cpuset_reserved": fields.SetOfIntegersField(nullable=True, default=None),
        "memory": fields.IntegerField(),
        "pagesize": fields.IntegerField(nullable=True, default=None),
        "cpu_topology": fields.ObjectField("VirtCPUTopology", nullable=True),
        "cpu_pinning_raw": fields.DictOfIntegersField(nullable=True, default=None),
        "cpu_policy": fields.CPUAllocationPolicyField(nullable=True, default=None),
        "cpu_thread_policy": fields.CPUThreadAllocationPolicyField(nullable=True, default=None),
    }
    cpuset: set[int]
    pcpuset: set[int]
    cpuset_reserved: set[int] | None
    cpu_topology: VirtCPUTopology | None
    cpu_pinning_raw: dict[str, int] | None
    cpu_policy: str | None
    ADDED_IN = {
        "pagesize": (1, 1),
        "cpu_pinning_raw": (1, 2),
        "cpu_topology": (1, 2),
        "cpu_policy": (1, 3),
        "cpu_thread_policy": (1, 3),
        "cpuset_reserved": (1, 4),
        "pcpuset": (1, 5),
    }
    VALUES_ADDED_IN = {("cpu_policy", (1, 6)): ("mixed",)}

    #: Guest CPU to host CPU with integer keys; on the wire the keys are strings.
    cpu_pinning = ovo_fields.DictProxyField("cpu_pinning_raw")

    @property
    def total_cpus(self) -> set[int]:
        """Guest CPUs of the node, shared and pinned."""
        return set(self.cpuset) | set(self.pcpuset)

    @property
    def siblings(self) -> list[set[int]]:
        """Guest CPUs that are threads of one core; empty without threads."""
        topology = self.cpu_topology if "cpu_topology" in self else None
        threads = topology.threads if topology else None
        if not threads or threads == 1:
            return []
        cpus = sorted(self.total_cpus)
        return [set(cpus[i : i + threads]) for i in range(0, len(cpus) - threads + 1, threads)]

    @property
    def can_say_policy(self) -> bool:
        """Whether nodes of this version have a CPU policy."""
        return base.known_version(self.VERSION) >= (1, 3)

    def asked_cpus(self) -> tuple[list[int], list[int]]:
        """Guest CPUs that are not pinned, and those that are, by the rules of the node's version.

        Before 1.5 a node had one set of CPUs, which its policy made shared or pinned: Nova moves it to ``pcpuset`` when
        it loads a 1.4. Raises UnknownSchema for a pinned node whose pinned CPUs are not known.
        """
        version, policy = base.known_version(self.VERSION), self.cpu_policy if "cpu_policy" in self else None
        shared: Iterable[int] = self.cpuset
        pinned: Iterable[int] | None = self.pcpuset if "pcpuset" in self else None
        if not self.can_say_policy and "cpu_pinning_raw" in self and self.cpu_pinning_raw is not None:
            raise self._unclear("cpu_pinning_raw without a policy")
        if version < (1, 5) and policy == "dedicated" and not pinned:
            if version < (1, 4):
                raise self._unclear("the policy dedicated and one set of CPUs")
            shared, pinned = (), shared
        if policy not in ("dedicated", "mixed"):
            pinned = ()
        elif pinned is None:
            raise self._unclear(f"the policy {policy} without pcpuset")
        return sorted(shared), sorted(pinned)

    def _unclear(self, what: str) -> errors.UnknownSchema:
        return errors.UnknownSchema(
            f"an InstanceNUMACell of version {self.VERSION} has {what}, wanted pcpuset, which "
            "names its pinned CPUs; resize the server, so that Nova makes its topology again"
        )

    def __len__(self) -> int:
        return len(self.total_cpus)

    def obj_make_compatible(self, primitive: dict[str, Any], target_version: str) -> None:
        pinned = primitive.get("pcpuset")
        super().obj_make_compatible(primitive, target_version)
        # Before 1.5 a node had one set of CPUs, which its policy made shared or pinned.
        if (
            base.known_version(target_version) < (1, 5)
            and primitive.get("cpu_policy", self.get("cpu_policy", None)) == "dedicated"
        ):
            primitive["cpuset"] = pinned


@base.register
class InstanceNUMATopology(base.NovaObject, ovo.VersionedObjectDictCompat):
    """All NUMA nodes of a guest."""

    VERSION = "1.3"
    fields = {
        "id": fields.IntegerField(),
        "instance_uuid": fields.UUIDField(),
        "cells": fields.ListOfObjectsField("InstanceNUMACell"),
        "emulator_threads_policy": fields.CPUEmulatorThreadsPolicyField(nullable=True),
    }
    cells: list[InstanceNUMACell]
    emulator_threads_policy: str | None
    ADDED_IN = {"emulator_threads_policy": (1, 3)}

    @property
    def cpu_pinning(self) -> set[int]:
        """Host CPUs that the guest is pinned to."""
        pinnings = (cell.cpu_pinning for cell in self.cells)
        return {cpu for pinning in pinnings if isinstance(pinning, dict) for cpu in pinning.values()}

    @property
    def cpuset_reserved(self) -> set[int]:
        """Host CPUs that the hypervisor uses for this guest."""
        return {cpu for cell in self.cells if cell.cpuset_reserved for cpu in cell.cpuset_reserved}

    @property
    def emulator_threads_isolated(self) -> bool:
        """Whether the emulator's threads get a host CPU of their own."""
        return "emulator_threads_policy" in self and self.emulator_threads_policy == "isolate"

    def __len__(self) -> int:
        return len(self.cells)


@base.register
class NUMATopologyLimits(base.NovaObject):
    """The over-commitment with which the topology was fitted; the compute host checks with the same ratios."""

    VERSION = "1.1"
    fields = {
        "cpu_allocation_ratio": fields.FloatField(),
        "ram_allocation_ratio": fields.FloatField(),
        "network_metadata": fields.ObjectField("NetworkMetadata"),
    }
    ADDED_IN = {"network_metadata": (1, 1)}
