"""Statistics of a learner."""

from dataclasses import dataclass

from ftrl.admission import hyperloglog
from ftrl.admission.admission import Admission
from ftrl.kernels.count_codes import Tally
from ftrl.kernels.slot_codec import SlotCodec, count_weights
from ftrl.table.fixedpoint import SCALE
from ftrl.table.growing import Table
from ftrl.table.layout import TAGS
from streams.compute.arrays import U8


@dataclass(frozen=True, slots=True)
class LearnerStats:
    """The size of the model, what was left out of it, and the errors of its approximations.

    examples: rows learned from, without corrections of rows learned from. features_seen: an
    estimate, within about 2%. features_admitted: held in the table. nonzero_weights: of these,
    with a weight. refused: sightings turned away because the table was full. evicted: features
    taken out again, not seen for long or the least of a full table. saturated: values stored that
    lay outside the range of layout q2.13, or of counts.

    Of layout q2.13, else 0: rounding, by how much storing changes η·z on average, which is of a
    weight's size, measured on one coordinate an example; collision_rate, the share of features
    outside the table that would be taken for one in it.

    nbytes: memory of the table, the filters and the sketch. filter_fill: the share of the
    filters' counters in use. false_positives: the share of new features that the filters take for
    seen, measured; false_positives_in_theory: what it should be with so many counters in use.
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
    tally: Tally, table: Table, admission: Admission, sketch: U8, codec: SlotCodec
) -> LearnerStats:
    """The stats of a learner that has these parts; reads all of their memory.

    sketch: of the features seen.
    """
    features = int(tally["used"][0])
    rounded, rounding = int(tally["rounded"][0]), float(tally["rounding"][0])
    return LearnerStats(
        examples=int(tally["examples"][0]),
        features_seen=max(round(hyperloglog.estimate(sketch)), features),
        features_admitted=features,
        nonzero_weights=int(count_weights(table.slots, table.homes, codec)),
        refused=int(tally["refused"][0]),
        evicted=int(tally["evicted"][0]),
        saturated=int(tally["saturated"][0]),
        rounding=rounding / max(rounded, 1) / SCALE,
        collision_rate=features / table.buckets / TAGS if table.bucketed else 0.0,
        nbytes=table.slots.nbytes + table.ages.nbytes + admission.words.nbytes + sketch.nbytes,
        filter_fill=admission.fill(),
        false_positives=admission.false_positives(),
        false_positives_in_theory=admission.false_positives_in_theory(),
        false_admissions=admission.false_admissions(),
    )
