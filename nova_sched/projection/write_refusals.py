"""Why the fold refuses a write of Placement's API: every code, and what it means."""

import enum

from nova_sched.projection.reason import Reason


class WriteRefused(enum.StrEnum):
    """The codes of the reasons for which a write has no effect; ``meaning`` is a sentence for the operator,
    and ``kind`` are the words without the facts, for refusals that are counted together."""

    meaning: str
    kind: str

    def __new__(cls, code: str, meaning: str, kind: str = "") -> "WriteRefused":
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        member.kind = kind or code
        return member

    UNKNOWN_PROVIDER = (
        "unknown provider {provider}",
        "The log does not have the provider, or has it no more.",
        "unknown provider",
    )
    UUID_TAKEN = "the uuid {provider} is taken", "There is a provider with this uuid already.", "the uuid is taken"
    NAME_TAKEN = "the name {name} is taken", "There is a provider with this name already.", "the name is taken"
    OWN_PARENT = (
        "provider {provider} cannot be its own parent",
        "A provider was named as its own parent.",
        "a provider cannot be its own parent",
    )
    UNKNOWN_PARENT = "unknown parent {provider}", "The log does not have the parent that was named.", "unknown parent"
    MAY_NOT_MOVE = (
        "provider {provider} has a parent, and may not leave it",
        "Before microversion 1.37 a provider may get a parent, and not another one or none.",
        "the provider has a parent, and may not leave it",
    )
    LOOP = (
        "provider {provider} would be above itself",
        "The parent that was named is under the provider.",
        "the provider would be above itself",
    )
    IS_HOST = (
        "provider {provider} is the root of host {host}",
        "The root of a host has no parent.",
        "the provider is the root of a host",
    )
    HAS_CHILDREN = (
        "provider {provider} has children",
        "Only a provider without children is removed.",
        "the provider has children",
    )
    IN_USE = (
        "somebody holds resources of provider {provider}",
        "Only a provider of which nothing is held is removed.",
        "somebody holds resources of the provider",
    )
    AGENT_REPORTS = (
        "the agent of host {host} reports provider {provider}",
        "What an agent reports, it alone changes. Change it there, or pass the authority over the host to Nova.",
        "the agent of the host reports the provider",
    )
    AGENT_DECIDES = (
        "the agent of host {host} says what its consumers hold",
        "Allocations on a host whose authority is its agent come from schedulers and the agent only.",
        "the agent of the host says what its consumers hold",
    )
    GENERATION = (
        "provider {provider} has generation {found}, expected {expected}",
        "Somebody wrote to the provider since the client read it. The client reads again and repeats.",
        "another generation of the provider",
    )
    UNKNOWN_CLASS = (
        "unknown resource class {resource class}",
        "Neither OpenStack nor the cloud has this class.",
        "unknown resource class",
    )
    UNKNOWN_TRAIT = "unknown trait {trait}", "Neither OpenStack nor the cloud has this trait.", "unknown trait"
    HAS_INVENTORY = (
        "provider {provider} has an inventory of {resource class}",
        "An inventory that is added must not be there already.",
        "the provider has such an inventory",
    )
    NO_INVENTORY = (
        "provider {provider} has no inventory of {resource class: or }",
        "The inventory that was named is not there.",
        "the provider has no such inventory",
    )
    INVENTORY_IN_USE = (
        "somebody holds {resource class:, } of provider {provider}",
        "An inventory of which something is held is not removed.",
        "somebody holds what the inventory has",
    )
    CONSUMER_GENERATION = (
        "consumer {consumer} has generation {found}, expected {expected}",
        "Somebody wrote its allocations since the client read them. The client reads again and repeats.",
        "another generation of the consumer",
    )
    LOCKED = (
        "consumer {consumer} takes part in the write {write}",
        "A write over several logs that names the consumer is under way. It ends in a moment, and the client repeats.",
        "the consumer takes part in another write",
    )
    WRITE_EXISTS = "the write {write} exists", "Two writes over several logs have one uuid.", "the write exists"
    NOT_PREPARED = (
        "the write {write} is not under way",
        "It was ended before: of two ends the first one counts.",
        "the write is not under way",
    )
    UNITS = (
        "{amount} {resource class} of provider {provider} is not within its units",
        "The amount is below min_unit, above max_unit, or not a multiple of step_size.",
        "the amount is not within the units of the provider",
    )
    CAPACITY = (
        "{resource class} of provider {provider}: {used} used, {amount} asked, {capacity} there",
        "Less is free than was asked: another write came first.",
        "the provider has too little",
    )
    NOTHING_HELD = (
        "consumer {consumer} holds nothing",
        "There are no allocations to remove.",
        "the consumer holds nothing",
    )
    CLASS_EXISTS = (
        "the resource class {resource class} exists",
        "It was created before this write.",
        "the resource class exists",
    )
    CLASS_IN_USE = (
        "a provider has an inventory of {resource class}",
        "Only a class without inventories is removed.",
        "a provider has an inventory of the class",
    )
    CLASS_IN_WRITE = (
        "the write {write} names {resource class}",
        "A class is not renamed while a write over several logs that names it is under way.",
        "a write names the resource class",
    )
    TRAIT_EXISTS = "the trait {trait} exists", "It was created before this write.", "the trait exists"
    TRAIT_IN_USE = (
        "a provider has the trait {trait}",
        "Only a trait that no provider has is removed.",
        "a provider has the trait",
    )


def refused(code: WriteRefused, *facts: object) -> Reason:
    """The reason of a refused write."""
    return Reason(code, facts)
