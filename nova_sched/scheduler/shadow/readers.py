"""The threads that read copies of Nova's messages for a shadow, and pass on what is in them."""

import logging

from nova_sched.scheduler.shadow.messages import Unread, choice_of, request_of, with_networks_of
from rpc_api import concurrency, errors, log_context
from rpc_api.bus.copy_reader import CopyReader
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

#: Seconds for the engine to take what was read. Meanwhile the broker keeps what follows, up to the limit of the queue.
ENGINE_SECONDS = 30.0


class _Reader(CopyReader):
    """``scheduler`` is the Scheduler whose engine is the shadow's."""

    def __init__(self, what, source, scheduler, clock):
        super().__init__(what, source, clock, LOG)
        self._scheduler = scheduler
        #: Numbers of messages that were passed on, and that concern nobody here.
        self.used = self.ignored = 0

    def read_one(self, copy):
        """A function of the engine that does what a message says, None for nothing; raises Unread."""
        raise NotImplementedError

    def take(self, copies):
        done = None
        for copy in copies:
            found = self._guarded(copy)
            if found is not None:
                done = self._scheduler.call(found)
        if done is not None:
            _wait(done, len(copies))
        # A message never comes again: it would be too late for a comparison.
        return True

    def _guarded(self, copy):
        try:
            found = self.read_one(copy)
        except Unread as unread:
            LOG.debug("the message that cannot be used", exc_info=True)
            self.count_unread(unread.code, str(unread))
            return None
        except Exception as fault:
            concurrency.report_if_out_of_threads(fault)
            LOG.debug("the fault of %s", self.what, exc_info=True)
            self.count_unread("internal-fault", f"{type(fault).__name__}")
            return None
        if found is None:
            self.ignored += 1
            return None
        self.used += 1

        def guarded(engine):
            try:
                found(engine)
            except Exception as fault:
                # A class of the deployment may raise anything. The next message is not to blame.
                if not isinstance(fault, errors.NovaSchedError):
                    LOG.debug("the fault of the shadow", exc_info=True)
                self.count_unread("not-decided", f"{fault!s:.200}")

        return guarded

    def facts(self) -> dict:
        """Facts for the report of the process."""
        return {
            self.what: f"{self.state}, {self._source.url}; {self.used} messages used, {self.ignored} ignored; the "
            f"queue was full {self.drops} times",
            f"messages that {self.what} cannot use": dict(sorted(self.unread.items())) or "none",
        }


class RequestReader(_Reader):
    """Reads requests to Nova's scheduler. ``networks`` is where Neutron is asked, as for a scheduler."""

    def __init__(self, source, scheduler, networks, clock):
        super().__init__("the shadow's reader of requests", source, scheduler, clock)
        self._networks = networks

    def read_one(self, copy):
        found = request_of(copy, self._scheduler.cells.values())
        if found is None:
            return None
        with log_context.of(found.context):
            found = with_networks_of(
                found, self._networks, self._scheduler.policy.query_placement_for_routed_network_aggregates
            )
            return log_context.bound(lambda engine: engine.on_request(found.request, found.instance_uuids))

    def lost(self, why):
        return "requests among them are not compared"


class BuildReader(_Reader):
    """Reads what the conductor of a cell calls on compute hosts."""

    def __init__(self, cell, source, scheduler, topic, clock):
        super().__init__(f"the shadow's reader of builds in {cell}", source, scheduler, clock)
        self.cell = cell
        self._topic = topic

    def read_one(self, copy):
        choice = choice_of(copy, self._topic)
        return None if choice is None else lambda engine: engine.on_choice(choice)

    def closed(self, state):
        self._scheduler.call(lambda engine: engine.on_lost())

    def lost(self, why):
        self._scheduler.call(lambda engine: engine.on_lost())
        return "choices of Nova may be among them, so what is waited for may end as unseen"


def _wait(done, count):
    """Wait until the engine has taken what was read, so that the broker keeps what follows."""
    try:
        done.result(ENGINE_SECONDS)
    except TimeoutError:
        raise errors.ServiceUnavailable(
            f"the engine has not taken {number_of(count, 'message')} within {ENGINE_SECONDS:g} s; see the log of the "
            "shadow, and the load of its machine"
        ) from None
