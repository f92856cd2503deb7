"""Logs that the previous release wrote fold to the outcomes and the digests that it gave."""

import zlib
from pathlib import Path

import msgpack
import pytest

from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from rpc_api import codec
from tests.upgrade.previous import run_script

HERE = Path(__file__).resolve().parent
FIXTURE = HERE / "logs-of-35fdbc0.bin"
#: The runs of the previous release's simulation in the fixture, chosen so that they have each kind of refusal.
SEEDS = (1, 4, 6, 12, 17, 18, 20, 28)
STEPS = 150
LOGS = msgpack.unpackb(zlib.decompress(FIXTURE.read_bytes()), use_list=False)


@pytest.mark.parametrize("number", range(len(LOGS)))
def test_an_old_log_has_its_outcomes_and_digests(number):
    log = LOGS[number]
    projection, outcomes, digests = Projection(log["cell"], kept=None), [], []
    wanted = dict(log["digests"])
    for position, payload, account in log["records"]:
        found, _ = projection.fold([(position, codec.decode_record(payload, account))])
        outcomes += [(outcome.position, outcome.claim_uuid, outcome.reason is None) for outcome in found]
        if position in wanted:
            digests.append((position, state_digest(projection)))
    assert outcomes == [outcome[:3] for outcome in log["outcomes"]]
    assert [(aside.position, aside.index, aside.code) for aside in projection.quarantine] == list(log["set_aside"])
    assert digests == list(log["digests"])


def test_the_fixture_has_what_can_happen():
    reasons = {outcome[3] for log in LOGS for outcome in log["outcomes"]}
    assert len(reasons) >= 8
    assert {aside[2] for log in LOGS for aside in log["set_aside"]} >= {
        "not-its-host",
        "not-its-account",
        "not-allowed",
    }


def test_the_fixture_is_what_the_previous_release_writes(previous, tmp_path):
    out = tmp_path / "logs"
    run_script(previous, HERE / "write_logs.py", out, *(number for seed in SEEDS for number in (seed, STEPS)))
    assert zlib.decompress(out.read_bytes()) == zlib.decompress(FIXTURE.read_bytes())
