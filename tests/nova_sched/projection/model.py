"""A second, naive account of who holds what, in plain dicts: what the fold must agree with."""

from fractions import Fraction


class Model:
    """Hosts with one inventory of VCPU on their root and perhaps one on a child ``<host>-numa``; spread groups.

    Each method takes the fields of an event and returns the expected result, in the words of ``tests.builders.result``.
    """

    def __init__(self):
        self.hosts = {}
        #: (host, consumer) -> instance, uses: {provider: amount}, runs, attempt, group: (group, domain, partition).
        self.held = {}
        #: Whether use of providers that the host does not have counts on its root (from level 2 on).
        self.never_dropped = False

    def used(self, host, provider):
        """VCPU of a provider that all that is held on its host uses."""
        counted = {provider}
        if self.never_dropped and provider == host:
            counted |= self.names(host) - self.hosts[host]["has"].keys()
        return sum(
            amount
            for (name, _), one in self.held.items()
            if name == host
            for of, amount in one["uses"].items()
            if of in counted
        )

    def names(self, host):
        """All providers of which something is used on a host."""
        return {of for (name, _), one in self.held.items() if name == host for of in one["uses"]}

    def strays(self, host, uses):
        """Whether something is used of a provider that the host does not have."""
        return not uses.keys() <= self.hosts[host]["has"].keys()

    def capacity(self, host, provider):
        """VCPU of a provider that may be used in all."""
        total, ratio = self.hosts[host]["has"][provider]
        return int(total * Fraction(ratio))

    # --- what hosts say --------------------------------------------------------------------------------------------

    def reported(self, host, has, disabled, runs):
        """``has``: provider -> (total, ratio); ``runs``: instance -> uses. Answers the set of kinds that are noted."""
        known = host in self.hosts
        self.hosts[host] = {"has": has, "disabled": disabled, "lost": False}
        noted = set()
        mine = {consumer: one for (name, consumer), one in self.held.items() if name == host}
        missing = dict(runs)
        for consumer, one in mine.items():
            if one["instance"] not in runs:
                if one["runs"]:
                    noted.add("vanished")
                    del self.held[host, consumer]
                continue
            uses = missing.pop(one["instance"])
            if not one["runs"]:
                noted.add("started-unseen")
            if one["uses"] != uses:
                noted.add("differs")
            one.update(runs=True, uses=uses)
        for instance, uses in missing.items():
            if known and mine:
                noted.add("unclaimed-start")
            self.held[host, instance] = _running(instance, uses)
        if any(self.strays(host, one["uses"]) for (name, _), one in self.held.items() if name == host):
            noted.add("stray-use")
        return noted

    def removed(self, host):
        """The host and all that is held there are forgotten."""
        self.hosts.pop(host, None)
        self.held = {key: one for key, one in self.held.items() if key[0] != host}

    def lost(self, host, lost):
        """The host is lost, or is back."""
        if host in self.hosts:
            self.hosts[host]["lost"] = lost

    # --- claims ----------------------------------------------------------------------------------------------------

    def claimed(self, host, consumer, uses, attempt, group):
        """A claim: "accepted", or why not."""
        known = self.hosts.get(host)
        if known is None:
            return f"unknown host {host}"
        if known["lost"]:
            return "down"
        if known["disabled"]:
            return "disabled"
        if any(consumer == other for _, other in self.held):
            return "the consumer holds resources already"
        for provider, amount in uses.items():
            if provider not in known["has"]:
                return "unknown provider"
            total, _ = known["has"][provider]
            if amount > total or amount > self.capacity(host, provider) - self.used(host, provider):
                return "VCPU"
        if group is not None:
            name, domain, partition = group
            partitions = {
                one["group"][2] for one in self.held.values() if one["group"] and one["group"][:2] == (name, domain)
            }
            if partitions and partition not in partitions:
                return "anti-affinity"
        self.held[host, consumer] = dict(instance=consumer, uses=dict(uses), runs=False, attempt=attempt, group=group)
        return "accepted"

    def ended(self, consumer, attempt):
        """A claim is released or has expired."""
        self.held = {
            key: one for key, one in self.held.items() if key[1] != consumer or one["runs"] or one["attempt"] != attempt
        }

    def started(self, host, instance, uses):
        """An instance runs; answers the set of kinds that are noted."""
        if host not in self.hosts:
            return {"unknown-host"}
        strays = {"stray-use"} if self.strays(host, uses) else set()
        mine = [consumer for (name, consumer), one in self.held.items() if name == host and one["instance"] == instance]
        if not mine:
            self.held[host, instance] = _running(instance, uses)
            return {"unclaimed-start"} | strays
        one = self.held[host, mine[0]]
        noted = {"differs"} if one["uses"] != uses else set()
        one.update(runs=True, uses=dict(uses))
        return noted | strays

    def deleted(self, host, instance):
        """An instance does not run any more."""
        self.held = {
            key: one
            for key, one in self.held.items()
            if key[0] != host or one["instance"] != instance or not one["runs"]
        }

    def moved(self, host, source, destination):
        """What one consumer holds passes to another; False when it does not."""
        if (host, source) not in self.held or any(destination == consumer for _, consumer in self.held):
            return False
        self.held[host, destination] = self.held.pop((host, source))
        return True


def _running(instance, uses):
    return dict(instance=instance, uses=dict(uses), runs=True, attempt=None, group=None)
