"""The joiner: each impression matched with its click inside a window of event time, and labelled.

    impressions ─┐                       ┌─ labelled examples, in impression order
                 ├─ Joiner.process(step) ┼─ late clicks
    clicks ──────┘                       └─ rejected rows

    settings    [join] and [sampling]
    joiner      the object that holds the state and takes the steps
    steps       a step, checked and taken apart for the kernels
    kernels     the join, event by event, compiled; rules and sampling are what it goes by
    ring        the known impressions and the index that finds them, as the kernels see them
    pending     the same with their rows: room, growth, release
    rows        those rows, in memory or moved out of it
    breaker     when missing clicks make emission wait
    waiting     clicks that came before their impression
    labels      labelled examples: rows, sliced, beside their labels
    outputs     late clicks and rejected rows
    ledger      what became of every event; it always balances
    delays      how long clicks take
    state       everything a joiner must remember, to go on exactly
    letters     rows that the join refused, as dead letters

On Kafka, one partition's joiner as a state machine, and what drives it:

    partition   from the claim on; effects are what it asks for
    restart     how it finds what was done before; rebuild takes the rows since again
    cutting     the cut being made; needed tells from which one a restart would begin
    runner      carries out the effects; agent is Faust's side of it

Event time only: no clock is read, nothing is written, nothing is imported from the learner.
"""

from joiner.core.breaker import BreakerState
from joiner.core.joiner import Joiner, Watermarks
from joiner.core.kernel_types import FOREVER, NEVER, REASONS
from joiner.core.ledger import ClickLedger, DelayHistogram, Ledger
from joiner.core.outputs import LATE_SCHEMA, REJECTED_SCHEMA, JoinOutput
from joiner.core.row_store import Spill
from joiner.core.state import JoinState
from joiner.settings import JoinSettings, SamplingSettings

__all__ = [
    "FOREVER",
    "LATE_SCHEMA",
    "NEVER",
    "REASONS",
    "REJECTED_SCHEMA",
    "BreakerState",
    "ClickLedger",
    "DelayHistogram",
    "JoinOutput",
    "JoinSettings",
    "JoinState",
    "Joiner",
    "Ledger",
    "SamplingSettings",
    "Spill",
    "Watermarks",
]
