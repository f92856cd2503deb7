"""``nova-sched page``: a page to look at in a browser."""

import logging
import queue
import signal

from nova_sched.cli.catalogue import add_config_file, catalogue
from nova_sched.cli.command import SHOWN, ReplayCommand
from nova_sched.cli.numbers import Number
from nova_sched.process.notify import Notifier
from nova_sched.process.snapshot_store import open_store
from nova_sched.process.tuning import prepare_memory
from nova_sched.replay.state.history import SnapshotCache
from rpc_api import errors

EPILOG = """\
It shows the hosts as a heat map, decisions and refusals as they happen, why a request went where it went, any moment of
the past, and two what-ifs beside each other. It changes nothing, in the logs and elsewhere.

Without [page] auth_url it has no login and listens on this machine only. With it, users log in with Keystone: an
administrator sees everything, others see the requests, decisions and instances of their project.

examples:
  nova-sched page --log out/demo
  nova-sched page --log out/demo --port 8800
  nova-sched page

exit codes: 0 ended by SIGINT or SIGTERM, 2 wrong usage, or it cannot listen, 3 a log cannot be reached
"""
LOOK_SECONDS = 0.5


class Page(ReplayCommand):
    """Serve a page to look at in a browser: hosts, decisions as they happen, why, the past, and what if."""

    EPILOG = EPILOG
    when_down = SHOWN
    when_too_new = SHOWN

    def add_arguments(self, parser):
        parser.add_argument(
            "--host", metavar="ADDRESS", help="listen on this address (default: [page] host, 127.0.0.1)"
        )
        parser.add_argument(
            "--port",
            action=Number,
            least=0,
            most=65535,
            metavar="PORT",
            help="listen on this port, 0 for a free one (default: [page] port, 8790)",
        )
        add_config_file(parser)

    def run_on(self, source, arguments):
        from nova_sched.page import config
        from nova_sched.page.app import Page as PageState
        from nova_sched.page.server import RunningPage
        from nova_sched.page.what_if import WhatIfs

        conf = self._configuration(arguments.config_files)
        options = conf.page
        host = options.host if arguments.host is None else arguments.host
        port = options.port if arguments.port is None else arguments.port
        config.check(conf, host)
        keystone = self._keystone(conf)
        known = catalogue(arguments)
        prepare_memory()
        store = self.option(arguments, "snapshots")
        what_ifs = WhatIfs(
            self._names(arguments), arguments.config_files, options.what_if_records, options.what_if_seconds
        )
        page = PageState(
            source,
            options,
            known,
            what_ifs,
            keystone,
            None if self.option(arguments, "no_cache") else SnapshotCache.of_user(),
            open_store(store) if store else None,
        )
        running = RunningPage(page, host, port)
        return self._serve(running, page)

    def _serve(self, running, page):
        asked, notifier = queue.SimpleQueue(), Notifier()
        before = {
            number: signal.signal(number, lambda *_: asked.put(True)) for number in (signal.SIGINT, signal.SIGTERM)
        }
        running.start()
        try:
            where = " and ".join(running.urls)
            self.say(f"{self.app.NAME} {self.cmd_name}: the page is at {where}")
            notifier.ready(f"answers at {where}")
            while True:
                try:
                    asked.get(timeout=LOOK_SECONDS)
                    return errors.EXIT_OK
                except queue.Empty:
                    notifier.alive(page.cloud.pulses())
        finally:
            notifier.stopping("is ending")
            for number, handler in before.items():
                signal.signal(number, handler)
            running.stop()

    def _configuration(self, paths):
        """Read the options of the page, from the named files or from those that services read."""
        from oslo_config import cfg

        from nova_sched.cli import command_config
        from nova_sched.page import config
        from nova_sched.process.process import parse

        conf = cfg.ConfigOpts()
        config.register(conf)
        readable = paths or command_config.found(self.app.NAME)
        try:
            parse(conf, self.app.NAME, [f"--config-file={path}" for path in readable])
        except errors.UsageError as fault:
            if paths:
                raise
            # The user may have no right to read the services' file.
            self.say(f"{self.app.NAME} {self.cmd_name}: default options are used: {fault}")
            conf = cfg.ConfigOpts()
            config.register(conf)
            conf([], project="nova_sched", default_config_files=[], default_config_dirs=[])
        return conf

    def _keystone(self, conf):
        if conf.page.auth_url is None:
            return None
        from nova_sched.page.keystone import Keystone
        from nova_sched.page.policies import Rules

        if not conf.page.behind_proxy:
            logging.getLogger(__name__).warning(
                "passwords cross the network unencrypted unless a proxy in front ends TLS; see [page] behind_proxy"
            )
        return Keystone(conf, Rules(conf))
