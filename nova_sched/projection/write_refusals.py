"""Why the fold refuses a write of Placement's API: every code, and what it means."""

import enum

from nova_sched.projection.reason import Reason


class WriteRefused(enum.StrEnum):
    """The codes of the reasons for which a write has no effect; ``meaning`` is a sentence for the operator."""

    meaning: str

    def __new__(cls, code: str, meaning: str) -> "WriteRefused":
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    UNKNOWN_PROVIDER = "unknown provider {provider}", "The log does not have the provider, or has it no more."
    UUID_TAKEN = "the uuid {provider} is taken", "There is a provider with this uuid already."
    NAME_TAKEN = "the name {name} is taken", "There is a provider with this name already."
    OWN_PARENT = "provider {provider} cannot be its own parent", "A provider was named as its own parent."
    UNKNOWN_PARENT = "unknown parent {provider}", "The log does not have the parent that was named."
    MAY_NOT_MOVE = (
        "provider {provider} has a parent, and may not leave it",
        "Before microversion 1.37 a provider may get a parent, and not another one or none.",
    )
    LOOP = "provider {provider} would be above itself", "The parent that was named is under the provider."
    IS_HOST = "provider {provider} is the root of host {host}", "The root of a host has no parent."
    HAS_CHILDREN = "provider {provider} has children", "Only a provider without children is removed."
    IN_USE = "somebody holds resources of provider {provider}", "Only a provider of which nothing is held is removed."
    AGENT_REPORTS = (
        "the agent of host {host} reports provider {provider}",
        "What an agent reports, it alone changes. Change it there, or pass the authority over the host to Nova.",
    )
    AGENT_DECIDES = (
        "the agent of host {host} says what its consumers hold",
        "Allocations on a host whose authority is its agent come from schedulers and the agent only.",
    )
    GENERATION = (
        "provider {provider} has generation {found}, expected {expected}",
        "Somebody wrote to the provider since the client read it. The client reads again and repeats.",
    )
    UNKNOWN_CLASS = "unknown resource class {resource class}", "Neither OpenStack nor the cloud has this class."
    UNKNOWN_TRAIT = "unknown trait {trait}", "Neither OpenStack nor the cloud has this trait."
    HAS_INVENTORY = (
        "provider {provider} has an inventory of {resource class}",
        "An inventory that is added must not be there already.",
    )
    NO_INVENTORY = (
        "provider {provider} has no inventory of {resource class: or }",
        "The inventory that was named is not there.",
    )
    INVENTORY_IN_USE = (
        "somebody holds {resource class:, } of provider {provider}",
        "An inventory of which something is held is not removed.",
    )
    CONSUMER_GENERATION = (
        "consumer {consumer} has generation {found}, expected {expected}",
        "Somebody wrote its allocations since the client read them. The client reads again and repeats.",
    )
    LOCKED = (
        "consumer {consumer} takes part in the write {write}",
        "A write over several logs that names the consumer is under way. It ends in a moment, and the client repeats.",
    )
    WRITE_EXISTS = "the write {write} exists", "Two writes over several logs have one uuid."
    NOT_PREPARED = "the write {write} is not under way", "It was ended before: of two ends the first one counts."
    UNITS = (
        "{amount} {resource class} of provider {provider} is not within its units",
        "The amount is below min_unit, above max_unit, or not a multiple of step_size.",
    )
    CAPACITY = (
        "{resource class} of provider {provider}: {used} used, {amount} asked, {capacity} there",
        "Less is free than was asked: another write came first.",
    )
    NOTHING_HELD = "consumer {consumer} holds nothing", "There are no allocations to remove."
    CLASS_EXISTS = "the resource class {resource class} exists", "It was created before this write."
    CLASS_IN_USE = "a provider has an inventory of {resource class}", "Only a class without inventories is removed."
    CLASS_IN_WRITE = (
        "the write {write} names {resource class}",
        "A class is not renamed while a write over several logs that names it is under way.",
    )
    TRAIT_EXISTS = "the trait {trait} exists", "It was created before this write."
    TRAIT_IN_USE = "a provider has the trait {trait}", "Only a trait that no provider has is removed."


def refused(code: WriteRefused, *facts: object) -> Reason:
    """The reason of a refused write."""
    return Reason(code, facts)
