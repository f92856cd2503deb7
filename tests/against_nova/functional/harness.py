"""Our services in the place of nova-scheduler and Placement, in Nova's functional tests. Nothing of Nova is changed:
its fixtures start other services.

* Placement's application is ours (:func:`_loadapp`).
* The service with the binary nova-scheduler is ours; it answers on the transport of Nova's fixtures.
* The tap of each cell gets what nova-compute would send (:mod:`wire`).
"""

import functools
import io
import json

from nova import service as nova_service
from nova import test
from nova.conf import CONF
from nova.tests import fixtures
from oslo_messaging._drivers import common, impl_fake
from oslo_utils.fixture import uuidsentinel as uuids
from placement import deploy

from placement_api import config as placement_config
from placement_api.app import make_app
from rpc_api import errors, nova_exception
from rpc_api.bus import MessagingBus
from tests.against_nova.functional import filters, wire
from tests.against_nova.functional.cloud import CELL0, SECONDS, Cloud
from tests.against_nova.functional.neutron import FixtureNeutron
from tests.against_nova.functional.policy import configuration, policy

SCHEDULER, COMPUTE = "nova-scheduler", "nova-compute"
OUR_ERRORS = (errors.NovaSchedError, nova_exception.NovaException)
#: The Cloud of the running test.
_clouds = []


def install():
    """From now on Nova's tests run with our services."""
    deploy.loadapp = _loadapp
    test.TestCase.setUp = _with_cloud(test.TestCase.setUp)
    test.TestCase.flags = _and_reload(test.TestCase.flags)
    fixtures.ServiceFixture.__init__ = _noting_cell(fixtures.ServiceFixture.__init__)
    fixtures.ServiceFixture.setUp = _noting_start(fixtures.ServiceFixture.setUp)
    for method in ("stop", "kill"):
        setattr(nova_service.Service, method, _noting_end(getattr(nova_service.Service, method)))
    nova_service.Service.create = _scheduler_or(nova_service.Service.create)
    impl_fake.FakeIncomingMessage.reply = _reply
    filters.install()
    wire.install(_send, _saved)


def cloud():
    """The Cloud of the running test."""
    return _clouds[-1]


def _with_cloud(set_up):
    @functools.wraps(set_up)
    def set_up_and_start(case):
        set_up(case)
        cells = {cell.name: cell.uuid for cell in case.cell_mappings.values() if cell.name != CELL0}
        started = Cloud(cells or {"cell1": uuids.cell1})
        _clouds.append(started)
        case.addCleanup(_end)

    return set_up_and_start


def _end():
    _clouds.pop().close()


def _and_reload(flags):
    @functools.wraps(flags)
    def set_and_reload(case, **options):
        flags(case, **options)
        if _clouds and _clouds[-1].scheduler is not None:
            # As with SIGHUP after a change of the configuration.
            _clouds[-1].scheduler.set_policy(policy(CONF)).result(SECONDS)

    return set_and_reload


# --- Placement --------------------------------------------------------------------------------------------------------


def _loadapp(conf, project_name=None):
    placement_config.register(conf)
    # What a fixture sets is not in a file, where an option is also found under its old name.
    for option in placement_config.OPTS:
        for old in option.deprecated_opts:
            if old.group in conf and old.name in conf[old.group]:
                conf.set_override(option.name, conf[old.group][old.name], placement_config.GROUP.name)
    running = cloud()
    applications = {name: make_app(conf, region) for name, region in running.regions.items()}

    def application(environ, start_response):
        return applications[_endpoint(running, environ)](environ, start_response)

    return application


def _endpoint(running, environ):
    """A nova-compute creates its provider at the endpoint of its cell; all else is asked of the endpoint of the
    region."""
    if len(running.cells) == 1:
        return running.cells[0].name
    if environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"].endswith("/resource_providers"):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        made = json.loads(body)
        if not made.get("parent_provider_uuid"):
            return running.cell_of_node.get(made.get("uuid"), CELL0)
    return CELL0


# --- the scheduler ----------------------------------------------------------------------------------------------------


def _scheduler_or(create):
    def created(*arguments, **named):
        if named.get("binary") == SCHEDULER:
            return SchedulerService(named.get("host"))
        return create(*arguments, **named)

    return created


class SchedulerService:
    """Our scheduler, as Nova's fixtures start and stop a service."""

    binary = SCHEDULER

    def __init__(self, host):
        self.host = host
        self.manager = filters.manager()
        self._stop = None

    def start(self):
        bus = MessagingBus(configuration(), "fake:///")
        self._stop = cloud().start_scheduler(policy(CONF), bus, FixtureNeutron())

    def stop(self, graceful=True):
        if self._stop is not None:
            self._stop()
            self._stop = None

    kill = stop

    def wait(self): ...


def _reply(message, reply=None, failure=None):
    """As FakeIncomingMessage.reply, but an error of ours crosses as text, as it does over a broker."""
    if message._reply_q:
        error = failure[1] if failure else None
        if isinstance(error, OUR_ERRORS):
            text = common.serialize_remote_exception(failure)
            error = common.deserialize_remote_exception(text, [nova_exception.MODULE])
        message._reply_q.put((reply, error))


# --- the tap ----------------------------------------------------------------------------------------------------------


def _noting_cell(init):
    @functools.wraps(init)
    def noted(fixture, name, host=None, cell=None, **named):
        init(fixture, name, host, cell, **named)
        if name == "compute" and cell is not None and _clouds:
            cloud().cell_of_host[host or name] = cell.name

    return noted


def _noting_start(set_up):
    @functools.wraps(set_up)
    def started(fixture):
        set_up(fixture)
        if fixture.service.binary == COMPUTE and _clouds:
            cloud().computes[fixture.service.host] = fixture.service

    return started


def _noting_end(end):
    @functools.wraps(end)
    def ended(service, *arguments, **named):
        if _clouds and cloud().computes.get(service.host) is service:
            del cloud().computes[service.host]
        return end(service, *arguments, **named)

    return ended


def _send(host, sent, body):
    if not _clouds:
        return
    running = cloud()
    cell = running.cell_of_host.get(host, running.cells[0].name)
    if type(sent).__name__ == "ComputeNode" and "uuid" in sent:
        running.cell_of_node[sent.uuid] = cell
    running.queues[cell].put(body)


def _saved(changed):
    """nova-api forces a service down, or up again: only the next heartbeat has that."""
    if _clouds and type(changed).__name__ == "Service" and "forced_down" in changed.obj_what_changed():
        (cloud().forced_down.add if changed.forced_down else cloud().forced_down.discard)(changed.host)
