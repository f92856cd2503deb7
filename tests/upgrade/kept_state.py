"""Fold a log, or load a snapshot of it, and print the digest of the state. To be run in any release.

python kept_state.py fold LOG SNAPSHOT     folds the records in LOG, and writes a snapshot of their state
python kept_state.py load LOG SNAPSHOT     loads the snapshot

LOG is msgpack: [position, payload, account] of each record.
"""

import sys

import msgpack

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from rpc_api import codec


def main(what, log, path):
    if what == "load":
        with open(path, "rb") as file:
            print(state_digest(snapshot.load(file.read())))
        return
    with open(log, "rb") as file:
        records = msgpack.unpackb(file.read(), use_list=False)
    projection = Projection("cell1")
    for position, payload, account in records:
        projection.fold([(position, codec.decode_record(payload, account))])
    with open(path, "wb") as file:
        file.write(snapshot.dump(projection))
    print(state_digest(projection))


if __name__ == "__main__":
    main(*sys.argv[1:])
