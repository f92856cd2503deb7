"""The region that the configuration describes, and the name of this worker in its logs."""

import os
import tempfile
from pathlib import Path

from nova_sched.process.snapshot_store import store_of
from placement_api.config import new_roots_of, served_cells
from placement_api.region import Region
from placement_api.slots import open_file, take
from rpc_api import config


def state_dir_of(conf) -> Path:
    """The directory that all workers of this machine share."""
    return Path(conf.placement_api.state_dir or Path(tempfile.gettempdir()) / f"nova_sched-{os.getuid()}")


def logs_of(conf) -> list[tuple[str, str]]:
    """(Name, URL) of the logs that this endpoint serves: of its cells, and that of the API level if new root providers
    go there."""
    logs = [(cell.name, cell.log) for cell in served_cells(conf)]
    if new_roots_of(conf) == config.CELL0:
        logs.append((config.CELL0, config.cell0_log(conf)))
    return logs


class WorkerName:
    """The name of this worker in the logs. No other process of this machine has it while this one runs."""

    def __init__(self, directory: Path, name: str):
        self._file = open_file(directory / "placement-workers.lock")
        self.producer = f"placement/{name}-{take(self._file)}"


def region_of(conf) -> Region:
    """The region of a configuration, which is not started; UsageError for what is missing or wrong."""
    logs = logs_of(conf)
    directory = state_dir_of(conf)
    worker = WorkerName(directory, conf.placement_api.name)
    config.check_account(conf, "placement", worker.producer.partition("/")[2], *(url for _, url in logs))
    region = Region(
        logs,
        new_roots_of(conf),
        worker.producer,
        store=store_of(conf),
        accounts_required=bool(conf.cells.require_accounts),
        state_dir=directory,
        has_neighbours=conf.placement_api.other_machines,
    )
    # The lock of the name lasts as long as the region.
    region.worker = worker
    return region
