"""PCIWeigher: hosts with PCI devices are kept for requests that ask for them."""

import numpy as np

from nova_sched.weighers.base import Weigher

#: Hosts with as many free devices, or more, are alike.
MOST_DEVICES = 99


class PCIWeigher(Weigher):
    """Free PCI devices of the host, of which 99 and more count alike: fewer is better, whether the request asks for
    devices (they are used up host by host) or not (it leaves them alone)."""

    name = "PCIWeigher"
    option = "pci_weight_multiplier"
    least = 0.0
    static = True

    def raw(self, table, rows, request, policy, scope):
        return 1.0 + MOST_DEVICES - np.minimum(table.free_devices(rows), MOST_DEVICES)
