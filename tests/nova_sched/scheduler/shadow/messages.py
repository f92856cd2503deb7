"""Calls of Nova's conductor: the steps, and the messages that the real Nova 34 made of them.

``STEPS`` is what :mod:`tests.against_nova.nova_shadow` is asked for; ``messages.json`` has its answers, so that these
tests need no Nova. tests/against_nova/test_shadow.py compares both.
"""

import json
from pathlib import Path

from rpc_api.bus.copies import Copy
from tests.builders import uuid_of

RECORDED = Path(__file__).with_name("messages.json")
VM, OTHER = uuid_of("vm"), uuid_of("other")
REQUEST = "req-11111111-aaaa-4aaa-8aaa-000000000001"
STEPS = {
    "one instance": ["select", REQUEST, [VM], {}],
    "two instances": ["select", REQUEST, [VM, OTHER], {}],
    "a large instance": ["select", REQUEST, [VM], {"vcpus": 100}],
    "a forced host": ["select", REQUEST, [VM], {"force_hosts": ["host1"]}],
    "a move": ["select", REQUEST, [VM], {"ignore_hosts": ["source"]}],
    "a rebuild": ["select", REQUEST, [VM], {"scheduler_hints": {"_nova_check_type": ["rebuild"]}}],
    **{
        name: [name, REQUEST, VM, "host1.example.org"]
        for name in ("build", "resize", "migrate_live", "resize_across", "unshelve", "rebuild", "terminate", "pause")
    },
}


def recorded() -> dict[str, Copy]:
    """The messages of the steps."""
    found = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    return {name: Copy(key, body.encode()) for name, (key, body) in found.items()}
