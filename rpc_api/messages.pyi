"""Written by `make reference` from the schemas: change those, never this file."""

from typing import NamedTuple

from rpc_api.events import Allocation, ClaimProposed
from rpc_api.events.schema import SchemaObject

class BuildRequest(NamedTuple):
    """Build one instance in a cell: ``claims[0]`` is accepted already, the others are its alternates in order.

    ``max_attempts`` is the largest number of builds. ``position`` is that of the first claim in the cell's log.
    """

    instance_uuid: str
    request_id: str
    claims: tuple[ClaimProposed, ...]
    max_attempts: int
    position: int = -1
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class BuildOutcome(NamedTuple):
    """The result of a build: ``outcome`` built, no_valid_host, max_retries_exceeded or service_unavailable (it is not
    known whether there is a host, or whether the instance was built), after ``attempts``.

    ``reason`` is for the operator, and empty if the instance was built.
    """

    instance_uuid: str
    outcome: str
    host: str | None
    allocations: tuple[Allocation, ...]
    attempts: int
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

class BuildAnswer(NamedTuple):
    """The answer of an agent about one build: ``reason`` is empty if the instance runs."""

    started: bool
    reason: str
    @property
    def schema(self) -> type[SchemaObject]: ...
    @property
    def may_hold_maps(self) -> bool: ...

BUILT: str
NO_VALID_HOST: str
MAX_RETRIES_EXCEEDED: str
SERVICE_UNAVAILABLE: str
