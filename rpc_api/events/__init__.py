"""The event language: every event that a log may contain, by its name.

``events.ClaimProposed(...)`` makes the frozen record of the class in ``rpc_api.events.claim``; ``EVENTS`` has the
classes themselves.
"""

from rpc_api.events import claim, cloud, decision, device, host, provider
from rpc_api.events.schema import TABLE, FrozenRecord, from_object, thaw, to_object

#: The classes of all events (not of the objects that occur only inside them), by name.
EVENTS = {
    schema.__name__: schema
    for schema in (
        cloud.LogOpened,
        cloud.LogRestored,
        cloud.LogRebased,
        cloud.AccountsRequired,
        cloud.LevelPinned,
        host.HostReported,
        host.ProvidersReported,
        host.AuthorityPassed,
        host.HostDisabled,
        host.HostEnabled,
        host.HostConfirmed,
        host.HostLost,
        host.HostSeen,
        host.HostRemoved,
        host.InstancesTracked,
        claim.ClaimProposed,
        claim.ClaimReleased,
        claim.ClaimExpired,
        claim.ClaimsWatched,
        claim.InstanceStarted,
        claim.InstanceDeleted,
        claim.AllocationMoved,
        claim.BuildFailed,
        decision.DecisionMade,
        decision.RequestRefused,
        decision.PolicyAdopted,
        decision.DecisionCompared,
        cloud.AggregateUpdated,
        cloud.AggregateDeleted,
        cloud.GroupAnchored,
        cloud.GroupFenced,
        cloud.StateKept,
        cloud.CheckpointNamed,
        provider.ProviderCreated,
        provider.ProviderChanged,
        provider.ProviderDeleted,
        provider.InventoriesPut,
        provider.TraitsPut,
        provider.AggregatesPut,
        provider.AllocationsPut,
        provider.AllocationsDropped,
        provider.AllocationsPrepared,
        provider.WriteCommitted,
        provider.WriteAborted,
        provider.WriteEnded,
        provider.Reshaped,
        provider.ClassCreated,
        provider.ClassRenamed,
        provider.ClassDeleted,
        provider.TraitCreated,
        provider.TraitDeleted,
        provider.ProviderImported,
        provider.ConsumerImported,
    )
}

LogOpened = cloud.LogOpened.Frozen
LogRestored = cloud.LogRestored.Frozen
LogRebased = cloud.LogRebased.Frozen
AccountsRequired = cloud.AccountsRequired.Frozen
LevelPinned = cloud.LevelPinned.Frozen
AggregateUpdated = cloud.AggregateUpdated.Frozen
AggregateDeleted = cloud.AggregateDeleted.Frozen
GroupAnchored = cloud.GroupAnchored.Frozen
GroupFenced = cloud.GroupFenced.Frozen
StateKept = cloud.StateKept.Frozen
CheckpointNamed = cloud.CheckpointNamed.Frozen
Inventory = host.Inventory.Frozen
Provider = host.Provider.Frozen
HostInventory = host.HostInventory.Frozen
NUMAMetric = host.NUMAMetric.Frozen
HostStatus = host.HostStatus.Frozen
HostPages = device.HostPages.Frozen
HostNUMACell = device.HostNUMACell.Frozen
PCIPool = device.PCIPool.Frozen
NUMACellRequest = device.NUMACellRequest.Frozen
NUMARequest = device.NUMARequest.Frozen
PCIRequest = device.PCIRequest.Frozen
NUMAUse = device.NUMAUse.Frozen
PCIUse = device.PCIUse.Frozen
Guest = device.Guest.Frozen
Allocation = host.Allocation.Frozen
GroupRule = host.GroupRule.Frozen
Consumer = host.Consumer.Frozen
HostConsumers = host.HostConsumers.Frozen
HostReported = host.HostReported.Frozen
ReportedProviders = host.ReportedProviders.Frozen
ProvidersReported = host.ProvidersReported.Frozen
AuthorityPassed = host.AuthorityPassed.Frozen
HostDisabled = host.HostDisabled.Frozen
HostEnabled = host.HostEnabled.Frozen
HostConfirmed = host.HostConfirmed.Frozen
HostLost = host.HostLost.Frozen
HostSeen = host.HostSeen.Frozen
HostRemoved = host.HostRemoved.Frozen
TrackedInstance = host.TrackedInstance.Frozen
InstancesTracked = host.InstancesTracked.Frozen
ClaimProposed = claim.ClaimProposed.Frozen
ClaimReleased = claim.ClaimReleased.Frozen
ClaimExpired = claim.ClaimExpired.Frozen
ClaimsWatched = claim.ClaimsWatched.Frozen
InstanceStarted = claim.InstanceStarted.Frozen
InstanceDeleted = claim.InstanceDeleted.Frozen
AllocationMoved = claim.AllocationMoved.Frozen
BuildFailed = claim.BuildFailed.Frozen
ResourceAmount = decision.ResourceAmount.Frozen
ResourceGroup = decision.ResourceGroup.Frozen
ServerGroupRequest = decision.ServerGroupRequest.Frozen
SchedulingRequest = decision.SchedulingRequest.Frozen
CellPosition = decision.CellPosition.Frozen
RefusalCount = decision.RefusalCount.Frozen
WeigherScore = decision.WeigherScore.Frozen
HostScore = decision.HostScore.Frozen
Evidence = decision.Evidence.Frozen
DecisionMade = decision.DecisionMade.Frozen
RequestRefused = decision.RequestRefused.Frozen
PolicyAdopted = decision.PolicyAdopted.Frozen
DecisionCompared = decision.DecisionCompared.Frozen
ProviderCreated = provider.ProviderCreated.Frozen
ProviderChanged = provider.ProviderChanged.Frozen
ProviderDeleted = provider.ProviderDeleted.Frozen
InventoriesPut = provider.InventoriesPut.Frozen
TraitsPut = provider.TraitsPut.Frozen
AggregatesPut = provider.AggregatesPut.Frozen
ClaimTerms = provider.ClaimTerms.Frozen
ConsumerPut = provider.ConsumerPut.Frozen
AllocationsPut = provider.AllocationsPut.Frozen
AllocationsDropped = provider.AllocationsDropped.Frozen
AllocationsPrepared = provider.AllocationsPrepared.Frozen
WriteCommitted = provider.WriteCommitted.Frozen
WriteAborted = provider.WriteAborted.Frozen
WriteEnded = provider.WriteEnded.Frozen
ProviderInventories = provider.ProviderInventories.Frozen
Reshaped = provider.Reshaped.Frozen
ClassCreated = provider.ClassCreated.Frozen
ClassRenamed = provider.ClassRenamed.Frozen
ClassDeleted = provider.ClassDeleted.Frozen
TraitCreated = provider.TraitCreated.Frozen
TraitDeleted = provider.TraitDeleted.Frozen
ProviderImported = provider.ProviderImported.Frozen
ConsumerImported = provider.ConsumerImported.Frozen

__all__ = ["EVENTS", "TABLE", "FrozenRecord", "from_object", "thaw", "to_object", *EVENTS]
