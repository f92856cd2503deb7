"""The rules of the fold that came after level 1: each is in force from the level that it needs.

A log has one level at each position (:class:`~rpc_api.events.cloud.LevelPinned`), so all services judge a record by the
same rules, and records before the pin keep their outcome. Only what changes an outcome of the fold is a rule, together
with the filters that must agree with it.
"""

import functools
from typing import NamedTuple


class Rules(NamedTuple):
    """Which rules are in force at one level."""

    #: A claim of an affinity group may name the member that it is placed beside.
    affinity_beside: bool
    #: The claim's own instance does not count as a member of its affinity group.
    affinity_without_itself: bool
    #: A physical function and its virtual functions are one device.
    card_is_one_device: bool
    #: Use of a provider or class that the host does not report stays counted.
    use_is_never_dropped: bool
    #: An inventory that Placement accepts is accepted.
    inventory_as_placement: bool
    #: A fault in one provider closes that provider, and does not set the whole report aside.
    fault_closes_provider: bool
    #: The log has the age of claims that are not started: the time for which conductors watched them.
    claims_have_an_age: bool
    #: Providers and consumers are a ledger: they have generations, providers need no host, and a consumer may hold
    #: something on several hosts.
    one_ledger: bool


#: Rule -> the level that it needs.
SINCE = {
    "affinity_beside": 2,
    "affinity_without_itself": 2,
    "card_is_one_device": 2,
    "use_is_never_dropped": 2,
    "inventory_as_placement": 2,
    "fault_closes_provider": 2,
    "claims_have_an_age": 2,
    "one_ledger": 3,
}


@functools.cache
def rules_of(level: int) -> Rules:
    """The rules that are in force in a log of a level (1 or more)."""
    return Rules(**{rule: level >= since for rule, since in SINCE.items()})
