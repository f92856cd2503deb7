"""The wire tap as a target: damaged messages of nova-compute, up to the state of the log."""

import json

from conductor.tap.decode import Change, Ignored, Lost, Unread, decode
from conductor.tap.model import LEVEL, REPORT_PAUSE, TapModel
from nova_sched.nova_objects.names import LOST
from rpc_api import codec, errors, events
from tests import invariants
from tests.builders import Cell, created
from tests.conductor.tap.messages import recorded
from tests.fuzz import mutation
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import Target, hold

TAP = "conductor/tap"


class Tapped(Target):
    """Each message is a change, says that others are lost, is ignored or cannot be used; what follows can be packed,
    and the fold goes on."""

    def __init__(self, rng):
        super().__init__(rng)
        self.bodies = list(recorded().values())
        self.messages = [json.loads(json.loads(body)["oslo.message"]) for body in self.bodies]
        self.messages.append({"method": LOST, "args": {"host": "host1", "dropped": 1}})
        self.mutator = Mutator(rng, mutation.leaves(self.messages), packable=False)
        self.cell = Cell(events.LevelPinned(LEVEL), created("host1"))
        self.now = 0.0
        self.model = TapModel(60.0, self.now)

    def make(self):
        if self.rng.random() < 0.1:
            return self.mutator.damaged(self.rng.choice(self.bodies), self.rng.choice(self.bodies))
        message = self.rng.choice(self.messages)
        # The object alone, most of the time: the rest of a message has little to read.
        inst = (message.get("args") or {}).get("objinst")
        if inst is not None and self.rng.random() < 0.8:
            changed = self.mutator.changed(inst["nova_object.data"], self.rng.choice((1, 1, 2)))
            message = message | {"args": message["args"] | {"objinst": inst | {"nova_object.data": changed}}}
        else:
            message = self.mutator.changed(message, self.rng.choice((1, 2, 4)))
        text = mutation.to_json(message)
        text = text.decode(errors="replace") if isinstance(text, bytes) else text
        return json.dumps({"oslo.version": "2.0", "oslo.message": text}).encode(errors="replace")

    def feed(self, payload):
        self.now += REPORT_PAUSE
        found = decode(payload)
        hold(type(found) in (Change, Lost, Ignored, Unread), "neither used nor refused", found)
        if type(found) is Unread:
            hold(found.code and 0 < len(found.reason) < 1000, "refused without a reason", found)
        elif type(found) is Change:
            self.model.take(found, self.cell.projection, self.now)
        elif type(found) is Lost:
            self.model.host_lost_messages(found.host)
        projection = self.cell.projection
        for data in [*self.model.due(projection, self.now), *self.model.liveness(projection, self.now)]:
            try:
                codec.encode_events([codec.make_event(data, TAP, 1, 1, 1)], LEVEL)
            except errors.InvalidEvent:
                continue
            self.cell.say(data, by=TAP)

    def settle(self):
        invariants.check(self.cell.projection)
