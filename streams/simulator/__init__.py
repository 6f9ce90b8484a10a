"""A traffic simulator: two logs whose truth is known, seeded and identical on every machine.

    settings ─▶ world ─▶ truth ─▶ traffic ─▶ arrivals ─▶ log_writers
                who, what, when    │          │            impressions, clicks, truth.parquet
                                   delays     malformed    counted by tally

`simulate` does it all. `reproducible` has the random numbers and functions that give the same bits
everywhere.

- `arrivals`: simulated rows put in order of arrival and cut into even batches
- `delays`: the delay of a click after its impression
- `log_writers`: simulated rows written out, as Parquet or NDJSON
- `malformed`: malformed rows on purpose: every way in which the simulator breaks one, by format
- `reproducible`: random numbers, exp and log that are the same to the last bit on every machine
- `settings`: sizes, truth, delays, and the rate of every fault
- `simulate`: generate traffic chunk by chunk, and write the logs, their truth and their settings
- `tally`: counts of everything a simulation puts into its logs
- `traffic`: the events, and the rows that reach the two logs, faults included
- `truth`: the planted truth: the probability that an impression is ever clicked
- `world`: the simulator's world: users, ads, publishers, and what is shown to whom, when
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
