"""A traffic simulator: two logs whose truth is known, seeded and identical on every machine.

    settings ─▶ world ─▶ truth ─▶ traffic ─▶ arrivals ─▶ logs
                who, what, when    │          │            impressions, clicks, truth.parquet
                                   delays     malformed    counted by tally

`simulate` does it all. `portable` has the random numbers and functions that give the same bits
everywhere.
"""

from streams.simulator.settings import SimulatorSettings
from streams.simulator.simulate import Simulation, replay_settings, simulate

__all__ = ["Simulation", "SimulatorSettings", "replay_settings", "simulate"]
