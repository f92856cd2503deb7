"""A process that loads the notification driver nova_sched as nova-compute does. The conductor that its objects ask is
in the process, and keeps no database.

Arguments: the mode (threading, eventlet) and a configuration file. Run by the peer's own Python, beneath
:mod:`tests.against_nova.peer_loop`. Imports nothing of this project; the driver comes by its entry point.
"""

import logging
import sys
import time
import warnings

from nova import monkey_patch

warnings.simplefilter("ignore")
MODE, CONFIG = sys.argv[1:]
monkey_patch.patch(backend=MODE)

import nova.conf  # noqa: E402
import nova_steps  # noqa: E402
from nova import config, context, exception, objects, rpc  # noqa: E402
from nova.objects import base  # noqa: E402

SECONDS_MAX = 60.0


class Conductor:
    """Answers as Nova's conductor does: with the fields that changed by the save."""

    def __init__(self):
        self.called, self.updates, self.refuses = [], {}, False

    def object_action(self, context, objinst, objmethod, args, kwargs):
        if self.refuses:
            raise exception.ObjectActionError(action=objmethod, reason="refused")
        self.called.append(f"{objinst.obj_name()} {objmethod}")
        return dict(self.updates), None


class Lines(logging.Handler):
    """The lines that are logged in the driver's names."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.lines = []

    def emit(self, record):
        if record.name.startswith(("compute_agent", "rpc_api", "stevedore", "oslo_messaging.notify")):
            self.lines.append(f"{record.levelname} {record.getMessage()}")


LINES = Lines()
logging.getLogger().addHandler(LINES)
logging.getLogger().setLevel(logging.INFO)
# As nova.cmd.compute: the configuration, which loads the drivers, comes before the objects.
config.parse_args(["nova-compute", "--config-file", CONFIG], default_config_files=[], configure_db=False)
objects.register_all()
PUBLISHER = sys.modules["compute_agent.nova_notifier.publisher"]
PUBLISHER.LONGEST_PAUSE = PUBLISHER.FIRST_PAUSE
CONDUCTOR = base.NovaObject.indirection_api = Conductor()


def call(steps, updates=None):
    """Do steps, as :func:`nova_steps.do`; the conductor answers with ``updates``. Returns what it was asked."""
    CONDUCTOR.called, CONDUCTOR.updates = [], updates or {}
    nova_steps.do(steps)
    return CONDUCTOR.called


def call_refused(steps):
    """Do steps whose call the conductor refuses; returns how many of them raised its error."""
    CONDUCTOR.refuses, refused = True, 0
    for step in steps:
        try:
            nova_steps.do([step])
        except exception.ObjectActionError:
            refused += 1
    CONDUCTOR.refuses = False
    return refused


def call_with_a_database(steps):
    """Do steps in a process that has a database, which is not there; returns how many failed for that."""
    base.NovaObject.indirection_api, failed = None, 0
    for step in steps:
        try:
            nova_steps.do([step])
        except Exception:
            failed += 1
    base.NovaObject.indirection_api = CONDUCTOR
    return failed


def notify():
    """Send the notifications that nova-compute sends, by both of its notifiers."""
    for notifier in (rpc.get_notifier("compute", "host1"), rpc.get_versioned_notifier("nova-compute:host1")):
        notifier.info(context.get_admin_context(), "compute.instance.update", {"instance_id": "x"})
    devices = objects.PciDevice.create(None, {"compute_node_id": 1, "address": "0000:81:00.1", "dev_type": "type-VF"})
    return devices.status


def _outbox():
    return sys.modules["compute_agent.nova_notifier.driver"]._publishers[0]._outbox


def wait_published():
    """Wait until nothing waits to be published."""
    deadline = time.monotonic() + SECONDS_MAX
    while len(_outbox()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(_outbox())


def wait_logged(text):
    """Wait until a line with a text was logged; returns all lines."""
    deadline = time.monotonic() + SECONDS_MAX
    while not any(text in line for line in LINES.lines) and time.monotonic() < deadline:
        time.sleep(0.02)
    return LINES.lines


def let_run():
    """Give the driver's thread time."""
    time.sleep(0.05)


def waiting():
    """The number of messages that wait to be published."""
    return len(_outbox())


def limit(objects_max):
    """Make the outbox smaller."""
    _outbox()._objects_max = objects_max


def ours():
    """The modules of the project that are loaded."""
    return sorted(name for name in sys.modules if name.split(".")[0] in TOPS)


TOPS = ("nova_sched", "conductor", "compute_agent", "placement_api", "rpc_api")
ASKS = (call, call_refused, call_with_a_database, notify, wait_published, wait_logged, let_run, waiting, limit, ours)
assert nova.conf.CONF.host == "host1"
