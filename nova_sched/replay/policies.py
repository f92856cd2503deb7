"""The policies that logs say were adopted."""

import json
from dataclasses import fields
from hashlib import blake2b
from typing import NamedTuple

from nova_sched.replay.not_loaded import completed, words_for
from nova_sched.selection.catalogue import BUILT_IN
from nova_sched.selection.policy import Policy
from rpc_api import errors
from rpc_api.packing import pack

CELL0 = "cell0"
HOW_TO_LOAD = "name the schedulers' configuration, which loads it, with --config-file"


class PolicyMissing(errors.LogGap):
    """The policy of a decision is not in the logs, or names what this process has not loaded."""


class Adopted(NamedTuple):
    """A policy as it was adopted first: the ``cell`` and ``position`` of that (None where it is not known), and the
    Policy; where this process has not loaded all ``filters`` and ``weighers`` of it (their names), something stands in
    the place of those that says nothing."""

    cell: str | None
    position: int | None
    policy: Policy
    filters: tuple = ()
    weighers: tuple = ()

    @property
    def is_whole(self):
        """Whether all its filters and weighers are loaded."""
        return not self.filters and not self.weighers

    @property
    def where(self) -> str:
        """Where it was adopted."""
        return "in the logs" if self.cell is None else f"in {self.cell} at position {self.position}"

    @property
    def not_loaded(self) -> str:
        """What of it is not loaded, in words."""
        return words_for(self.filters, self.weighers)


class PolicyBook:
    """The policies that logs say were adopted, by their digests; their filters and weighers are those of
    ``catalogue``."""

    def __init__(self, catalogue=BUILT_IN):
        self.catalogue = catalogue
        #: Digest -> Adopted, and of those that are whole the Policy.
        self.adopted, self.policies = {}, {}
        #: Digest -> why the policy of that digest cannot be used.
        self.unusable = {}
        #: The logs that were looked through: cell -> EventLog.
        self.logs = {}

    def adopt(self, data, cell: str | None = None, position: int | None = None) -> None:
        """Know a policy (a PolicyAdopted at a position of a cell's log) by its digest; one that is not what its digest
        says is nobody's."""
        if data.digest in self.adopted:
            return
        where = "in the logs" if cell is None else f"in {cell} at position {position}"
        try:
            options = _options_in(data.options)
            if blake2b(pack(options), digest_size=8).hexdigest() != data.digest:
                raise ValueError
        except (ValueError, RecursionError, errors.NovaSchedError):
            self.unusable.setdefault(data.digest, f"is {where} with options that are not those of its digest; "
                                                  "see who adopted it")
            return
        try:
            catalogue, filters, weighers = completed(self.catalogue, options)
            found = Adopted(cell, position, Policy.from_json(data.options, catalogue), filters, weighers)
        except errors.NovaSchedError as fault:
            self.unusable[data.digest] = f"is {where} and cannot be used: {_why_not(options, fault)}"
            return
        self.adopted[data.digest] = found
        if found.is_whole:
            self.policies[data.digest] = found.policy
        else:
            self.unusable[data.digest] = f"is {where}, and names {found.not_loaded}, not loaded here; {HOW_TO_LOAD}"

    def get(self, digest: str) -> Policy:
        """A policy; PolicyMissing where it is not known or not all of it is loaded."""
        if digest not in self.policies:
            raise PolicyMissing(f"its policy {digest} {self.why_missing(digest)}")
        return self.policies[digest]

    def why_missing(self, digest: str) -> str:
        """Why a policy cannot be used, after its name."""
        return self.unusable.get(digest) or self._absent()

    def get_adopted(self, digest: str) -> Adopted:
        """A policy as far as it is loaded; PolicyMissing where it is not known at all."""
        if digest not in self.adopted:
            self.get(digest)
        return self.adopted[digest]

    def _absent(self):
        """Why a policy is not known: schedulers say in cell0 by what they decide."""
        log = self.logs.get(CELL0)
        if log is None:
            return "is in none of the logs named; name that of cell0 too"
        first = log.bounds().first
        if first > 0:
            return (f"is in none of the logs named: that of cell0 begins at position {first}, what was before is "
                    "removed; name an exported file that holds it")
        return "is in none of the logs named, although that of cell0 is whole; see whether it is the log of this cloud"


def _options_in(text):
    options = json.loads(text)
    if type(options) is not dict:
        raise ValueError
    return options


def _why_not(options, fault):
    """Why options that a scheduler adopted cannot be used here."""
    newer = sorted(options.keys() - {one.name for one in fields(Policy)})
    if newer:
        return (f"it has the option {newer[0]!r}, which this version of nova_sched does not know; use the version of "
                "the scheduler that adopted it")
    return str(fault)
