"""The availability zone of hosts that are in no other one."""

import json

from nova_sched.projection.state import CELL0
from nova_sched.replay.logs.reading import backwards
from rpc_api.codec import Event
from rpc_api.events.decision import SHADOW

NOVA = "nova"


def default_zone_of(logs, positions) -> str:
    """Return the default zone of the policy that a scheduler adopted last in cell0's log, up to its position in
    ``positions``; Nova's default one if there is none."""
    if CELL0 not in logs or CELL0 not in positions:
        return NOVA
    for _, record in backwards(logs[CELL0], (b"PolicyAdopted",), positions[CELL0]):
        for event in reversed(record.events):
            if isinstance(event, Event) and event.name == "PolicyAdopted" and not event.producer.startswith(SHADOW):
                try:
                    zone = json.loads(event.data.options).get("default_availability_zone")
                except (ValueError, AttributeError):
                    continue
                return zone if isinstance(zone, str) else NOVA
    return NOVA
