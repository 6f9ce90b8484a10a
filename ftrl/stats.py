"""What a learner has come to, in numbers."""

from dataclasses import dataclass

from ftrl.admission import hyperloglog
from ftrl.admission.admission import Admission
from ftrl.kernels import count_codes, slot_codec
from ftrl.kernels.arguments import Rates
from ftrl.kernels.count_codes import Bits, Tally
from ftrl.table.fixedpoint import SCALE
from ftrl.table.growing import Table
from ftrl.table.layout import TAGS
from streams.compute.arrays import U8


@dataclass(frozen=True, slots=True)
class LearnerStats:
    """What the model has come to.

    examples: rows learned from, corrections of rows learned from apart. features_seen: an
    estimate, within about 2%. features_admitted: held in the table. nonzero_weights: of these,
    with a weight. refused: sightings turned away because the table was full. evicted: features
    taken out again, not seen for long or the least of a full table. saturated:
    values stored that lay outside the range of layout q2.13, or of counts. Of layout q2.13, else 0:
    rounding, by how much storing changes η·z on average, which is of a weight's size, measured on
    one coordinate an example; collision_rate, the share of features outside the table that would
    be taken for one in it.
    nbytes: memory of the table, the filters and the sketch. filter_fill: the share of the
    filters' counters in use. false_positives: the share of new features that the filters take for
    seen, measured, and in theory, which with so many counters in use it should be.
    false_admissions: of the sightings of features that should be held back, the share let in,
    an estimate from one feature in 128.
    """

    examples: int
    features_seen: int
    features_admitted: int
    nonzero_weights: int
    refused: int
    evicted: int
    saturated: int
    rounding: float
    collision_rate: float
    nbytes: int
    filter_fill: float
    false_positives: float
    false_positives_in_theory: float
    false_admissions: float


def stats_of(
    tally: Tally, table: Table, admission: Admission, seen: U8, bits: Bits, rates: Rates
) -> LearnerStats:
    """The stats of a learner that these are of; reads all of their memory.

    seen: the sketch of the features that were. bits: of the codes of counts.
    """
    features = int(tally["used"][0])
    rounded, rounding = int(tally["rounded"][0]), float(tally["rounding"][0])
    return LearnerStats(
        examples=int(tally["examples"][0]),
        features_seen=max(round(hyperloglog.estimate(seen)), features),
        features_admitted=features,
        nonzero_weights=slot_codec.nonzero(
            table.slots,
            table.shift,
            bits,
            count_codes.average(tally),
            rates.alpha,
            rates.beta,
            rates.l1,
        ),
        refused=int(tally["refused"][0]),
        evicted=int(tally["evicted"][0]),
        saturated=int(tally["saturated"][0]),
        rounding=rounding / max(rounded, 1) / SCALE,
        collision_rate=features / table.groups / TAGS if table.grouped else 0.0,
        nbytes=table.slots.nbytes + table.ages.nbytes + admission.words.nbytes + seen.nbytes,
        filter_fill=admission.fill(),
        false_positives=admission.false_positives(),
        false_positives_in_theory=admission.false_positives_in_theory(),
        false_admissions=admission.false_admissions(),
    )
