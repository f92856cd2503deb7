"""The region that the configuration describes, and the name of this worker in its logs."""

import fcntl
import os
import tempfile
from pathlib import Path

from nova_sched.process.snapshot_store import store_of
from placement_api.config import new_roots_of, served_cells
from placement_api.region import Region
from placement_api.slots import keep, open_file, take, unusable
from rpc_api import config, errors


def state_dir_of(conf) -> Path:
    """The directory that all workers of this machine share; UsageError if its name is not absolute: workers may have
    other working directories."""
    named = conf.placement_api.state_dir
    if named is not None and not Path(named).is_absolute():
        raise errors.UsageError(f"[placement_api] state_dir is {named!r}, wanted an absolute path; fix it")
    if named is not None:
        return Path(named)
    for variable in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        # (systemd separates several directories by a colon.)
        runtime = os.environ.get(variable, "").partition(":")[0]
        if runtime and os.access(runtime, os.W_OK):
            return Path(runtime) / "nova_sched"
    return Path(tempfile.gettempdir()) / f"nova_sched-{os.getuid()}"


def logs_of(conf) -> list[tuple[str, str]]:
    """(Name, URL) of the logs that this endpoint serves: of its cells, and that of the API level if it is the endpoint
    of a region with several cells, or if new root providers go there."""
    logs = [(cell.name, cell.log) for cell in served_cells(conf)]
    is_region = not conf.placement_api.cells and len(logs) > 1
    if is_region or new_roots_of(conf) == config.CELL0:
        logs.append((config.CELL0, config.cell0_log(conf)))
    return logs


class WorkerName:
    """The name of this worker in the logs. No other process of this machine has it while this one runs."""

    def __init__(self, directory: Path, name: str):
        self.path = directory / "placement-workers.lock"
        self._file = open_file(self.path)
        #: From 0 on; the name of its producer in the logs has it.
        self.number = take(self._file)
        self.producer = f"placement/{name}-{self.number}"

    def keep(self) -> None:
        """Keep the file from being removed as an old one; NovaSchedError if it was removed."""
        keep(self._file, self.path)


class ServedPort:
    """What the workers of a machine serve on a port. They share it, so that all of them must serve the same; UsageError
    if they do not."""

    def __init__(self, directory: Path, port: int, cells):
        path = directory / f"placement-port-{port}.served"
        self._file = open_file(path)
        served = ",".join(cells).encode()
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.truncate(0)
            self._file.write(served)
            self._file.flush()
        except BlockingIOError:
            # (When the one that writes it has written it.)
            fcntl.flock(self._file, fcntl.LOCK_SH)
            self._file.seek(0)
            found = self._file.read()
            if found != served:
                raise errors.UsageError(
                    f"another worker serves the logs of {found.decode()} on port {port}, and this one those of "
                    f"{served.decode()}; give each endpoint its own [placement_api] bind_port"
                ) from None
        except OSError as fault:
            raise unusable(path, fault) from None
        fcntl.flock(self._file, fcntl.LOCK_SH)


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
