"""The filters and weighers that a process knows, by the names that its policy may use.

Those of deployers are loaded by the service (:mod:`nova_sched.scheduler.plugins`)
from its own configuration, and passed on as a value. A log only names them:
nothing is ever loaded because a log names it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from nova_sched import filters, weighers


class Catalogue(NamedTuple):
    """Name -> Filter, name -> Weigher."""

    filters: Mapping[str, filters.Filter]
    weighers: Mapping[str, weighers.Weigher]


BUILT_IN = Catalogue(filters.BUILT_IN, weighers.BUILT_IN)
