"""The tests, in folders that mirror the rooms.

- `oracles`: slow and obvious truths that share no code with what they check
- `support`: what several tests share: small logs, random rows, fixtures
- `streams`, `joiner`, `ftrl`, `deploy`: tests of each room
- `benchmarks`: that measurements run and print their document
- `system`: the whole loop: faults, simulated schedules, real Kafka, quality, bad input
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]  # of the checkout
