"""The what-if of the page: the recorded requests as they were, decided again, and with the changes of two sides."""

import json

from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.verify.decisions import spooled
from nova_sched.replay.verify.spool import Spool
from nova_sched.replay.what_if.changes import Changes, ratio_of
from nova_sched.replay.what_if.comparison import facts_of
from nova_sched.replay.what_if.run import Run
from nova_sched.replay.what_if.traffic import as_recorded, count_of, traffic_of
from nova_sched.selection.catalogue import BUILT_IN
from nova_sched.selection.policy import Policy, is_number
from rpc_api import errors
from rpc_api.wording import number_of

SIDES = ("A", "B")
#: Hosts that one side may add.
ADDED_MAX = 100_000
#: The share of the work that reading the decisions is.
READING = 0.1


def changes_of(side: dict, known) -> Changes:
    """Return the Changes of one side: ``options``, ``weighers``, ``ratios``, ``dropped`` and ``added`` as in Changes.
    UsageError for a wrong name or value."""
    weighers, ratios, added = side.get("weighers", {}), side.get("ratios", {}), side.get("added", {})
    options = side.get("options", {})
    _check_options(options, known)
    for name, multiplier in weighers.items():
        if name not in known.weighers:
            raise errors.UsageError(f"there is no weigher {name!r}, wanted one of {', '.join(sorted(known.weighers))}")
        if not is_number(multiplier):
            raise errors.UsageError(f"the multiplier of {name} is {multiplier!s:.40}, wanted a number")
    for like, count in added.items():
        if not 0 < count <= ADDED_MAX:
            raise errors.UsageError(f"{number_of(count, 'host')} like {like} must be added, wanted 1 to {ADDED_MAX}")
    return Changes(
        options,
        None,
        {name: float(multiplier) for name, multiplier in weighers.items()},
        {name: ratio_of(str(ratio)) for name, ratio in ratios.items()},
        frozenset(side.get("dropped", ())),
        added,
    )


def _check_options(options, known):
    """Raise UsageError for an option that no policy can have. The recorded policies are not known yet, but the kind of
    each option is the same in all of them."""
    # (A catalogue may lack the filters that are enabled by default.)
    base = Policy(enabled_filters=(), weighers=(), catalogue=known)
    usual = json.loads(base.to_json())
    for name, value in options.items():
        if name not in usual:
            raise errors.UsageError(f"a policy has no option {name!r}, wanted one of {', '.join(sorted(usual))}")
        try:
            # One by one, as not every fault says which option it is about. The digest shows that it can be recorded.
            policy = Policy.from_json(json.dumps({**usual, name: value}), known)
            _ = policy.digest
        except (errors.InvalidEvent, ValueError, TypeError, OverflowError, RecursionError):
            like = json.dumps(getattr(Policy, name))
            raise errors.UsageError(
                f"the option {name} of a policy has a wrong value, wanted one like {like:.200}; fix it"
            ) from None


def compare(source, sides, known, records_max: int, progress) -> dict:
    """Return the facts of the recorded requests: as they were, decided again, and with the changes of each side."""
    count = count_of(source.logs)
    if count > records_max:
        raise errors.UsageError(
            f"the logs have {number_of(count, 'record')}, and the page takes {records_max} at most ([page] "
            "what_if_records); use nova-sched-replay what-if"
        )
    changes = [changes_of(side, known) for side in sides]
    with Spool() as spool:
        policies = PolicyBook(known)
        spooled(source.logs, spool, policies)
        if not spool.count():
            raise errors.NovaSchedError("the logs have no decision; name the missing logs")
        for policy in policies.policies.values():
            for changed in changes:
                changed.policy_for(policy)
        labels = ("recorded", "re-run", *SIDES[: len(sides)])

        def update(label, done, total):
            share = (labels.index(label) + done / max(total, 1)) / len(labels)
            progress(READING + (1 - READING) * share, label)

        traffic = traffic_of(spool)
        progress(READING, "recorded")
        tallies = [as_recorded(source.logs, traffic, lambda _, done, total: update("recorded", done, total))]
        changes = [Changes(), *(changed.with_hosts(tallies[0].hosts) for changed in changes)]
        for label, changed in zip(labels[1:], changes, strict=True):
            run = Run(source.logs, policies, spool, traffic, changed, label, update)
            tallies.append(run.run())
        missing = sum((tally.missing for tally in tallies[1:]), tallies[0].missing)
    return {
        "columns": list(labels),
        "facts": facts_of(tallies, labels),
        "samples": {
            label: [
                [sample.at_ns // 10**6, sample.used, sample.hosts, sample.stranded, sample.refused]
                for sample in tally.samples
            ]
            for label, tally in zip(labels, tallies, strict=True)
        },
        "missing": dict(missing),
        "lacking": sorted(cell for cell, log in source.logs.items() if log.bounds().first > 0),
    }


def catalogue_in(config_files):
    """Return the filters and weighers that configuration files of the schedulers name, by default the built-in ones."""
    if not config_files:
        return BUILT_IN
    from oslo_config import cfg

    from nova_sched.process.process import parse
    from nova_sched.scheduler import config

    conf = cfg.ConfigOpts()
    config.register(conf)
    parse(conf, "nova-sched", [f"--config-file={path}" for path in config_files])
    return config.catalogue_of(conf)[0]
