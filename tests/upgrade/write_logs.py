"""Write what the previous release's simulation appended to its logs, and what that release's fold made of it.

To be run in the previous release's environment:  python write_logs.py OUT SEED STEPS [SEED STEPS ...]

OUT is zlib-compressed msgpack: a list of logs, each a map of ``cell``, ``records`` ([position, payload, account]),
``outcomes`` ([position, claim uuid, whether it was accepted, reason]), ``set_aside`` ([position, index, code]),
and ``digests`` ([position, digest], after every 50th record and the last).
"""

import logging
import sys
import zlib

import msgpack
from cloud.simulation import cloud as simulated
from cloud.simulation.script import Faults
from cloud.simulation.world import SimLog

from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from rpc_api import codec

DIGEST_EVERY = 50


def logs_of(seed, steps):
    """Every log of a run, from its first record to its last one: (cell, [(position, payload, account), ...])."""
    logs, current = [], {}
    look, re_create = SimLog.look, SimLog.re_create

    def looked(log, account=None):
        # What is new since the last look was appended with one account.
        records = current.get(id(log))
        if records is None:
            records = current[id(log)] = []
            logs.append((log.cell, records))
        if log._seen <= log.log.bounds().last:
            with log.log.read_from(log._seen) as reader:
                records += [(record.position, record.payload, account) for record in reader.read(10**9)]
        look(log, account)

    def begun_again(log):
        current.pop(id(log), None)
        re_create(log)

    SimLog.look, SimLog.re_create = looked, begun_again
    try:
        simulated.run(seed, steps, Faults())
    finally:
        SimLog.look, SimLog.re_create = look, re_create
    return logs


def folded(cell, records):
    """What the fold of this release makes of a log."""
    projection = Projection(cell, kept=None)
    outcomes, digests = [], []
    for number, (position, payload, account) in enumerate(records, 1):
        found, _ = projection.fold([(position, codec.decode_record(payload, account))])
        outcomes += [(one.position, one.claim_uuid, one.reason is None, one.reason) for one in found]
        if number % DIGEST_EVERY == 0 or number == len(records):
            digests.append((position, state_digest(projection)))
    set_aside = [(one.position, one.index, one.code) for one in projection.quarantine]
    return {"cell": cell, "records": records, "outcomes": outcomes, "set_aside": set_aside, "digests": digests}


def main(out, *numbers):
    logging.disable(logging.CRITICAL)
    runs = zip(map(int, numbers[::2]), map(int, numbers[1::2]), strict=True)
    logs = [folded(cell, records) for seed, steps in runs for cell, records in logs_of(seed, steps) if records]
    with open(out, "wb") as file:
        file.write(zlib.compress(msgpack.packb(logs, use_bin_type=True), 9))


if __name__ == "__main__":
    main(*sys.argv[1:])
