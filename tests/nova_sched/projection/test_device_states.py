"""Hosts by the state of their devices: the same as looking at each host, after whatever happened."""

import random

import numpy as np
import pytest

from nova_sched.hosts import device_groups as device_states
from nova_sched.hosts.device_groups import DeviceStates, distinct, told
from nova_sched.projection.in_flight import InFlight
from rpc_api import digest, events
from rpc_api.packing import pack
from tests.builders import Cell, claim, pool, released, report, tree

POOLS = pool(4), pool(3, product_id="10ed")
HOSTS = [f"h{number}" for number in range(8)]


def host(name, pools=POOLS):
    return report(name, inventory=tree(name, pci_pools=pools))


def asking(number, name, count=1):
    guest = events.Guest((), (events.PCIUse(digest.pool_key(POOLS[number % 2]), count, None),), {})
    return claim(f"vm-{number}", name)._replace(guest=pack(guest))


def as_they_are(table, states):
    """Each row's state by its number, and as the table has it."""
    for row in range(table.count):
        devices, number = table.devices(row), int(states.numbers[row])
        assert (devices is None) == (number < 0)
        assert devices is None or states.values[number].key == devices.key
    assert len({value.key for value in states.values}) == len(states.values)


@pytest.mark.parametrize("seed", range(5))
def test_states_are_renewed(seed, monkeypatch):
    monkeypatch.setattr(device_states, "MAX_LEFT", 10)
    rng = random.Random(seed)
    cell = Cell(*map(host, HOSTS[:-1]), report(HOSTS[-1]))
    table, in_flight = cell.projection.table, InFlight(cell.projection.table)
    states = DeviceStates(table)
    for number in range(120):
        name, step = rng.choice(HOSTS), rng.randrange(5)
        if step == 0:
            in_flight.add(asking(number, name))
        elif step == 1 and in_flight.claims:
            in_flight.remove(rng.choice(sorted(in_flight.claims)))
        elif step == 2:
            cell.say(asking(number, name))
        elif step == 3:
            cell.say(released(f"vm-{rng.randrange(number + 1)}"))
        else:
            cell.say(host(name, POOLS[: rng.randrange(3)]))
        as_they_are(table, states.renewed())
    assert len(states.values) <= 2 * table.count + 10 + 1


def test_hosts_of_one_state_are_looked_at_once():
    cell = Cell(*map(host, HOSTS))
    table = cell.projection.table
    states, looked = DeviceStates(table), []

    def verdict(devices):
        looked.append(devices)
        return devices.free_in_pool(0)

    for _ in range(2):
        assert told(states.verdicts("free", states.numbers, verdict), states.numbers).tolist() == [4] * len(HOSTS)
    assert len(looked) == 1
    cell.say(asking(0, "h3"))
    numbers = states.renewed().numbers
    assert told(states.verdicts("free", numbers, verdict), numbers).tolist() == [
        3 if name == "h3" else 4 for name in HOSTS
    ]
    assert len(looked) == 2
    states.verdicts("another question", numbers, verdict)
    assert len(looked) == 4


def test_no_more_questions_are_known_than_allowed(monkeypatch):
    monkeypatch.setattr(device_states, "MAX_KNOWN", 3)
    states = DeviceStates(Cell(host("h0")).projection.table)
    for number in range(9):
        states.verdicts(number, states.numbers, lambda devices: True)
    assert list(states._known) == [6, 7, 8]


@pytest.mark.parametrize("length", [0, 1, 15, 16, 500])
def test_many_numbers_are_told_as_few_are(length):
    numbers = np.array([number % 7 - 1 for number in range(length)], np.int32)
    assert distinct(numbers) == sorted(set(numbers.tolist()))
    assert told({number: 10 * number for number in range(-1, 6)}, numbers).tolist() == [
        10 * number for number in numbers.tolist()
    ]
