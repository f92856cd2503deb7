"""The compute agent: one process that reports for one or several hosts.

For each host it publishes facts in the order in which they became true: the whole state at the start, on change and
when asked; what starts and ends; and from time to time the digest of the state.
"""

import logging
import threading

from compute_agent.voice import HostVoice
from nova_sched.process.monitoring.families import Sample, one_or_zero
from nova_sched.process.monitoring.pulse import Pulse
from nova_sched.process.read_before import KnownLog
from rpc_api import concurrency, errors
from rpc_api.clock import SYSTEM
from rpc_api.contracts import conductor as conductor_rpc
from rpc_api.contracts.conductor import CellConductorAPI
from rpc_api.feed.publisher import Appender, Producer
from rpc_api.levels import LEVEL
from rpc_api.log.checks import mask_password
from rpc_api.waiting import Outage, until_it_passes
from rpc_api.watch import Watch

LOG = logging.getLogger(__name__)

APPEND_TIMEOUT = 30.0
#: Seconds between two looks at what the start waits for.
WAIT_STEP = 0.5
#: For a beat that is under way when the agent stops.
BEAT_SECONDS = 2.0
#: At the stop, for a log that cannot be appended to.
AWAY_SECONDS = 5.0
#: Seconds between two beats of an agent that waits for the epoch of its log.
FIRST_BEAT = 1.0
#: Beats between two questions whether a conductor of the cell is there: a beat itself is not answered.
WATCH_BEATS = 6


class Agent:
    """``drivers`` are the drivers of its hosts by name; ``server`` is its own name on the RPC bus; times in seconds."""

    RPC_METHODS = ("build_instance", "cancel_build", "delete_instance", "report", "use_level")

    def __init__(
        self,
        server,
        cell,
        log_url,
        bus,
        drivers,
        clock=SYSTEM,
        report_interval=10.0,
        confirm_interval=600.0,
        conductor_topic=conductor_rpc.TOPIC,
    ):
        self.server = server
        self._cell = cell
        self._log_url = log_url
        self._clock = clock
        self._known = KnownLog()
        self._log, epoch = until_it_passes(f"the agent {server} waits for {mask_password(log_url)}", self._open)
        self._known.begin(epoch)
        self._appender = Appender(self._log, epoch, f"agent {server}")
        self.hosts = {
            name: HostVoice(name, driver, Producer(self._appender, f"compute_agent/{name}", clock), server, clock)
            for name, driver in drivers.items()
        }
        self._conductors = CellConductorAPI(bus, cell, conductor_topic)
        self._report_interval = report_interval
        self._confirm_interval = confirm_interval
        topic = conductor_rpc.cell_topic(cell, conductor_topic)
        self._watch = Watch(
            self._conductors.ping,
            f"the topic {topic} of the conductors of {cell}",
            f"no conductor takes the beats of this agent ({server}) or notices when its hosts are lost; check the "
            "nova-sched-conductor of the cell and the broker",
            WATCH_BEATS * report_interval,
            clock,
        )
        self._outage = Outage(f"the agent {server} could not beat or report, and tries again", clock, LOG)
        self._stopped = threading.Event()
        #: Held while the log is opened again.
        self._opening = threading.Lock()
        #: Of the loop that beats and reports.
        self.pulse = Pulse("beats", clock, report_interval)
        self._thread = concurrency.vital_thread(self._run, f"agent {server}")

    @property
    def epoch(self) -> str | None:
        """The incarnation of the log that it appends to; None while it is unknown, as we may not read the log."""
        return self._known.epoch

    def _open(self):
        """Open the log: it, and its epoch, or None where our account may not read it."""
        log = self._known.open(self._cell, self._log_url)
        try:
            return log, self._known.opening_in(log, self._cell, f"compute_agent/{self.server}", self._clock).epoch
        except errors.LogForbidden:
            return log, None
        except errors.NovaSchedError:
            log.close()
            raise

    def start(self, timeout: float = 60.0):
        """Report every host, durably, and begin to beat. A log that cannot be appended to now is waited for; raises
        what a person must change, and LogUnavailable when it takes longer than ``timeout`` for no reason."""
        ticket = 0
        for voice in self.hosts.values():
            ticket = voice.report()
        if self.epoch is None:
            LOG.info(
                "the agent %s may not read %s, and waits for the epoch from a conductor of %s",
                self.server,
                self._log.url,
                self._cell,
            )
        self._thread.start()
        self._watch.start()
        self._wait_reported(ticket, timeout)
        return self

    def _wait_reported(self, ticket, timeout):
        outage = Outage(f"the agent {self.server} waits for {self._log.url}")
        deadline = self._clock.monotonic() + timeout
        while not self._appender.wait(ticket, WAIT_STEP):
            if self._appender.refusal is not None:
                raise self._appender.refusal
            if self.epoch is None:
                outage.met(
                    errors.LogUnavailable(
                        f"we may not read it, and no conductor of {self._cell} sends its epoch; start one"
                    )
                )
            elif self._appender.fault is None and self._clock.monotonic() >= deadline:
                raise errors.LogUnavailable(
                    f"the agent {self.server} could not report to {self._log.url} within "
                    f"{timeout} s (no answer); check its broker"
                )

    def stop(self, timeout: float = 5.0) -> bool:
        """Append what is waiting and end the threads; what runs goes on running. True when nothing was left."""
        deadline = self._clock.monotonic() + timeout
        self._stopped.set()
        self._watch.stop()
        if self._thread.is_alive():
            self._thread.join(min(timeout, BEAT_SECONDS))
        left = max(0.0, deadline - self._clock.monotonic())
        # What waits for a log that is away is in the full reports with which the agent starts again.
        drained = self._appender.close(left if self._appender.fault is None else min(left, AWAY_SECONDS))
        self._log.close()
        return drained

    def facts(self) -> dict:
        """Facts for the report of the process."""
        level = max((voice.producer.level for voice in self.hosts.values()), default=1)
        return {
            "server": self.server,
            "log": self._log.url,
            "epoch": self.epoch,
            "level": f"{level} (this agent knows 1 to {LEVEL})",
            "fault": self._appender.fault or "none",
            "conductors": "answer" if self._watch.silent_since is None else "do not answer",
            "hosts": {
                name: {
                    "instances": len(voice.driver.running()),
                    "events": voice.producer.sequence,
                    "producer epoch": voice.producer.epoch,
                }
                for name, voice in self.hosts.items()
            },
        }

    def samples(self):
        """Samples for its metrics."""
        cell = (self._cell,)
        yield Sample("nova_sched_log_appendable", one_or_zero(self._appender.fault is None), cell)
        yield Sample("nova_sched_log_events_waiting", self._appender.waiting, cell)
        yield Sample("nova_sched_log_append_duration_seconds", self._appender.waited, cell)
        yield Sample("nova_sched_agent_hosts", len(self.hosts))
        yield Sample("nova_sched_agent_instances", sum(len(voice.driver.running()) for voice in self.hosts.values()))
        yield Sample("nova_sched_agent_conductors_answer", one_or_zero(self._watch.silent_since is None))

    def why_not_ready(self) -> list[str]:
        """A sentence for each reason why its hosts cannot be reported, or are not watched, now."""
        found = [] if self._appender.fault is None else [self._appender.fault]
        if self.epoch is None:
            found.append(f"no conductor of {self._cell} has sent the epoch of the log")
        if self._watch.silent_since is not None:
            found.append(f"no conductor of {self._cell} answers")
        return found

    def _run(self):
        next_confirm = self._clock.monotonic() + self._confirm_interval
        while not self._stopped.wait(self._report_interval if self.epoch else min(self._report_interval, FIRST_BEAT)):
            self.pulse.beat()
            steps = [self._beat, self._report_changes]
            if self._appender.fault:
                steps.insert(0, self._open_again)
            if self._clock.monotonic() >= next_confirm:
                next_confirm = self._clock.monotonic() + self._confirm_interval
                steps.append(self._confirm)
            if all([self._is_done(step) for step in steps]):
                self._outage.over(f"the agent {self.server} beats and reports again")

    def _is_done(self, step):
        """Do one step of a round; whether it was done. What hinders one step must not hinder the others, nor end the
        agent: it is tried again in the next round."""
        try:
            step()
        except Exception as fault:
            concurrency.report_if_out_of_threads(fault)
            if not self._stopped.is_set():
                self._outage.met(fault)
            return False
        return True

    def _beat(self):
        self._conductors.beat({}, self.server, sorted(self.hosts), self.epoch or "")

    def _report_changes(self):
        for voice in self.hosts.values():
            voice.report_change()

    def _confirm(self):
        for voice in self.hosts.values():
            voice.confirm()

    def _open_again(self, sent_epoch=None):
        """Open the log again: it cannot be appended to, or a conductor has another one, whose epoch it sent. In a log
        that was recreated everything is reported again."""
        with self._opening:
            try:
                log, epoch = self._open()
            except errors.LogGone:
                # What waits must not become the first records of a log that an operator restores.
                self._appender.pause()
                raise
            epoch = epoch or sent_epoch or self.epoch
            before, self._log = self._log, log
            begun_anew = self.epoch not in (None, epoch)
            self._known.begin(epoch)
            self._appender.use(log, epoch, self._begin_anew if begun_anew else lambda: None)
            before.close()
        if begun_anew:
            LOG.warning("the log of %s was recreated: its epoch is %s; all hosts are reported again", self._cell, epoch)
            for voice in self.hosts.values():
                voice.report_soon()

    def _begin_anew(self):
        for voice in self.hosts.values():
            voice.producer.begin_anew()
            # A new log has no pin; a conductor sends the level of an imported one.
            voice.use_level(1)

    # --- RPC ---------------------------------------------------------------------------------------------------

    def build_instance(self, context, claim):
        """Start the instance of a claim; its start is durable in the log before the answer."""
        voice = self._voice(claim.host)
        answer, ticket = voice.build(claim)
        if ticket is not None and not voice.producer.wait(ticket, APPEND_TIMEOUT):
            LOG.warning("%s runs on %s, its start is not in the log yet", claim.instance_uuid, claim.host)
        return answer

    def cancel_build(self, context, host, claim_uuid, instance_uuid):
        """See that an instance does not run under a claim, now or later; True when that is certain, and in the log."""
        voice = self._voice(host)
        ticket = voice.cancel(claim_uuid, instance_uuid)
        return ticket is None or voice.producer.wait(ticket, APPEND_TIMEOUT)

    def delete_instance(self, context, host, instance_uuid, claim_uuids=()):
        """End an instance, and let nothing start under its claims; its end is durable in the log before the answer."""
        voice = self._voice(host)
        if not voice.producer.wait(voice.delete(instance_uuid, claim_uuids), APPEND_TIMEOUT):
            LOG.warning("%s ended on %s, which is not in the log yet", instance_uuid, host)

    def report(self, context, host, epoch, after):
        """Report a host in full; where the log has another ``epoch`` than we know, all of them, in that one. A producer
        epoch before ``after`` is left: the clock went back, and the log ignores what is published in it."""
        voice = self._voice(host)
        before = self.epoch
        if voice.producer.epoch < after:
            voice.begin_anew(after)
        if epoch != before:
            self._open_again(epoch)
        if self.epoch == before:
            voice.report_soon()

    def use_level(self, context, epoch, level):
        """Publish in the forms of a level, which the log of an epoch has; of a higher one than we know, in the newest
        forms that we know."""
        if epoch == self.epoch:
            self._known.see(level)
            for voice in self.hosts.values():
                voice.use_level(min(level, LEVEL))

    def _voice(self, host):
        voice = self.hosts.get(host)
        if voice is None:
            raise errors.UsageError(
                f"the agent {self.server} does not report for host {host}; its hosts are named in its configuration"
            )
        return voice
