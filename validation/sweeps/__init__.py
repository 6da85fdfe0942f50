"""Every cell of a sweep, performed on any executor: processes of this machine, or a cluster.

What is done is read from the cells' own folders, so that a sweep that is started again performs
only what is missing.
"""

from validation.sweeps.attempt import Work, is_complete
from validation.sweeps.log import CellEnd, read_log
from validation.sweeps.schedule import Failure, SweepOutcome, sweep
from validation.sweeps.spawned_pool import SpawnedPool, spawned_pool

__all__ = [
    "CellEnd",
    "Failure",
    "SpawnedPool",
    "SweepOutcome",
    "Work",
    "is_complete",
    "read_log",
    "spawned_pool",
    "sweep",
]
