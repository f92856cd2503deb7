"""Regions over a log, for tests: several workers of one machine, or of several."""

import contextlib
import uuid

from nova_sched.projection import snapshot
from nova_sched.projection.projection import Projection
from placement_api.region import Region
from rpc_api import codec, events
from rpc_api.clock import SYSTEM
from rpc_api.feed.epoch import open_at_level
from rpc_api.levels import LEVEL
from rpc_api.log import open_log

WHO = ("req-test", "user")


def uuid_of(name: str) -> str:
    """The uuid of a name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def prepare(
    url: str, cell: str = "cell1", keeper: str = "conductor/test", replaces: str | None = None, level: int = LEVEL
) -> None:
    """Begin a log at a level, with its first checkpoint, as the conductor of a cell does, or as a scheduler does in the
    log of cell0. It ``replaces`` the log of an epoch, as a restored one does, if that is given."""
    with open_log(url) as log:
        if replaces is not None:
            epoch = str(uuid.uuid4())
            restored = events.LogRestored(cell, epoch, replaces, 0)
            log.append([codec.encode_record(epoch, [codec.make_event(restored, "operator/old", 1, 1, 1)], level)])
        opening, _ = open_at_level(log, cell, "operator/test", level)
        projection = Projection(cell)
        if replaces is not None:
            projection.use_level(level, 0)
        with log.read_from(0) as reader:
            projection.fold(
                [(record.position, codec.decode_record(record.payload)) for record in reader.read(100, 1.0)]
            )
        packed = snapshot.dump(projection)
        kept = events.StateKept(str(uuid.uuid4()), projection.position, 0, 1, packed)
        event = codec.make_event(kept, keeper, 1, 1, 1)
        log.append([codec.encode_record(opening.epoch, [event], level)])


@contextlib.contextmanager
def workers(
    urls,
    state_dir=None,
    count: int = 2,
    new_roots: str | None = None,
    has_neighbours: bool = False,
    timeout: float = 30.0,
    clock=SYSTEM,
):
    """Yield some workers (Region) over the logs ``urls``, cell -> URL, that are ready."""
    with contextlib.ExitStack() as ending:
        found = []
        for number in range(count):
            region = Region(
                list(urls.items()),
                new_roots or next(iter(urls)),
                f"placement/test-{number}",
                clock,
                state_dir=state_dir,
                has_neighbours=has_neighbours,
            )
            ending.callback(region.close)
            found.append(region.start())
        for region in found:
            region.wait_ready(timeout)
        yield found
