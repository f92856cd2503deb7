"""Snapshots and checkpoints of the release before and of this one: each reads those of the other, at one level."""

import msgpack
import pytest

from rpc_api import events
from tests.end_to_end.processes import PRESENT
from tests.nova_sched.process.checkpoint_logs import KeptLog
from tests.upgrade.previous import WITH_API, check_out, run_script
from tests.upgrade.test_old_logs import HERE

SCRIPT = HERE / "kept_state.py"


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """The release before, which knows level 3."""
    return check_out(tmp_path_factory.mktemp("before"), WITH_API)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log of level 3 with hosts, claims, providers of the API and a host that is away."""
    kept = KeptLog()
    kept.hosts("a", "b", "c")
    kept.claims("a", "vm-1", "vm-2")
    kept.claims("b", "vm-3")
    kept.written("pool-1", "pool-2")
    kept.say("conductor/c", events.HostLost("c", "unreachable"))
    kept.say("operator/o", events.HostDisabled("b", "a test"))
    path = tmp_path_factory.mktemp("log") / "records"
    with kept.log.read_from(0) as reader:
        records = [[record.position, record.payload, record.account] for record in reader.read(1000, 1.0)]
    path.write_bytes(msgpack.packb(records))
    return path


@pytest.mark.parametrize("writer, reader", [("before", "now"), ("now", "before")])
def test_a_snapshot_of_one_release_is_read_by_the_other(before, log, tmp_path, writer, reader):
    releases = {"before": before, "now": PRESENT}
    path = tmp_path / "snapshot"
    written = run_script(releases[writer], SCRIPT, "fold", log, path)
    assert run_script(releases[reader], SCRIPT, "load", log, path) == written
    assert len(written.strip()) >= 16


def test_both_releases_fold_a_log_to_one_state(before, log, tmp_path):
    folded = {run_script(release, SCRIPT, "fold", log, tmp_path / "snapshot") for release in (before, PRESENT)}
    assert len(folded) == 1
