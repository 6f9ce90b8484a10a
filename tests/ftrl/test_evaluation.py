"""The metrics against their definitions, and histograms that merge, resume and take back."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftrl.evaluation.evaluation import Bucket, Evaluation
from ftrl.evaluation.histogram import COARSE, FINE, RANGE
from ftrl.evaluation.metrics import Group, Metrics
from streams.compute.arrays import F64, I8, I64
from tests.oracles import evaluation as oracle
from tests.oracles.evaluation import Example
from tests.support.tiers import tries

kernel = pytest.mark.kernel
quick = settings(max_examples=tries(40))
WIDTH = 1000  # ms


# On the middles of bins a histogram's AUC is exact; `bin_middles` go beyond the outer ones.
def middles(reach: int, bins: int) -> st.SearchStrategy[float]:
    """Middles of bins up to `reach`; half of them from few bins, so that there are ties."""
    places = st.one_of(st.integers(-3, 3), st.integers(-reach * bins, reach * bins))
    return places.map(lambda k: (k + 0.5) / bins)


bin_middles, inside, coarse_middles = middles(20, FINE), middles(15, FINE), middles(15, COARSE)
weights = st.one_of(st.just(1.0), st.floats(0.01, 100))
times = st.integers(0, 20 * WIDTH)


def examples(
    logits: st.SearchStrategy[float] = inside, least: int = 0, unique: bool = False
) -> st.SearchStrategy[list[Example]]:
    one = st.builds(Example, logits, st.integers(0, 1), weights, times)
    by = (lambda e: e.logit) if unique else None
    return st.lists(one, min_size=least, max_size=40, unique_by=by)


def frozen(state: Mapping[str, F64 | I64]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.items()}


def both_classes(rows: Sequence[Example]) -> list[Example]:
    return [*rows, Example(0.5 / FINE, 1), Example(-1.5 / FINE, 0)]


def arrays(rows: Sequence[Example]) -> tuple[F64, I8, F64, I64]:
    return (
        np.array([e.logit for e in rows], np.float64),
        np.array([e.label for e in rows], np.int8),
        np.array([e.weight for e in rows], np.float64),
        np.array([e.ts for e in rows], np.int64),
    )


def evaluated(rows: Sequence[Example], limit: int = 256) -> Evaluation:
    evaluation = Evaluation(WIDTH, limit)
    evaluation.update(*arrays(rows))
    return evaluation


def assert_metrics(got: Metrics, rows: list[Example]) -> None:
    """Equal to the definitions; None exactly where those are undefined."""
    assert got["examples"] == len(rows)
    mixed = {e.label for e in rows} == {0, 1}
    assert (got["normalized_entropy"] is None) == (not mixed)
    assert (got["normalized_entropy_interval"] is None) == (not mixed)
    assert (got["auc"] is None) == (not mixed)
    assert (got["calibration"] is None) == (not any(e.label for e in rows))
    if not rows:
        assert got["log_loss"] is None
        assert got["ctr"] is None
        return
    assert got["log_loss"] == pytest.approx(oracle.log_loss(rows), rel=1e-12)
    assert got["ctr"] == pytest.approx(oracle.ctr(rows), rel=1e-12)
    if any(e.label for e in rows):
        expected = oracle.prediction(rows) / oracle.ctr(rows)
        assert got["calibration"] == pytest.approx(expected, rel=1e-12)
    if mixed:
        expected = oracle.normalized_entropy(rows)
        # 1 - CTR cancels where nearly all the weight is positive.
        assert got["normalized_entropy"] == pytest.approx(expected, rel=1e-9)


def assert_group(got: Group, rows: list[Example]) -> None:
    observed, predicted = oracle.ctr(rows), oracle.prediction(rows)
    assert got["ctr"] == pytest.approx(observed, rel=1e-9, abs=1e-12)
    assert got["p"] == pytest.approx(predicted, rel=1e-9)
    expected = predicted / observed if got["calibration"] is not None else None
    assert got["calibration"] == (pytest.approx(expected, rel=1e-9) if expected else None)
    assert (expected is None) == (observed == 0)


@kernel
@quick
@given(examples())
def test_metrics_are_their_definitions(rows: list[Example]) -> None:
    assert_metrics(evaluated(rows).metrics(), rows)


@kernel
@quick
@given(examples())
def test_auc_counts_every_pair(rows: list[Example]) -> None:
    rows = both_classes(rows)
    assert evaluated(rows).metrics()["auc"] == pytest.approx(oracle.auc(rows), rel=1e-9)


@kernel
def test_auc_of_a_realistic_log_is_close_to_the_exact_one() -> None:
    rng = np.random.default_rng(1)
    for centre, spread in ((-4.0, 1.2), (-5.5, 0.3), (-3.0, 0.2)):
        logit = rng.normal(centre, spread, 10_000)
        label = (rng.random(10_000) < 1 / (1 + np.exp(-logit))).astype(np.int8)
        evaluation = Evaluation()
        evaluation.update(logit, label, np.ones(10_000), np.zeros(10_000, np.int64))
        rows = [Example(x, y) for x, y in zip(logit.tolist(), label.tolist(), strict=True)]
        assert evaluation.metrics()["auc"] == pytest.approx(oracle.ranked_auc(rows), abs=1e-4)


def test_both_auc_oracles_agree() -> None:
    rng = np.random.default_rng(2)
    rows = [Example(float(x), int(y)) for x, y in rng.integers(0, 2, (60, 2)) * [3, 1]]
    assert oracle.ranked_auc(rows) == pytest.approx(oracle.auc(rows))


@kernel
@quick
@given(examples(least=3))
def test_entropy_interval_is_the_infinitesimal_jackknife(rows: list[Example]) -> None:
    rows = both_classes(rows)
    got = evaluated(rows).metrics()
    score, interval = got["normalized_entropy"], got["normalized_entropy_interval"]
    assert score is not None
    assert interval is not None
    low, high = interval
    assert low * high == pytest.approx(score * score)
    relative = math.log(high / score) / oracle.Z
    assert relative == pytest.approx(oracle.entropy_error(rows) / score, rel=1e-4, abs=1e-6)


def test_entropy_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Logs of some 100 clicks; truth: expected loss over the entropy of the expected CTR."""
    rng = np.random.default_rng(3)
    many = rng.normal(-5.5, 1.0, 2_000_000)
    p, served = 1 / (1 + np.exp(-many)), many + 0.1
    loss = np.mean(p * np.logaddexp(0, -served) + (1 - p) * np.logaddexp(0, served))
    mean = p.mean()
    truth = loss / -(mean * math.log(mean) + (1 - mean) * math.log(1 - mean))
    held = 0
    for _ in range(400):
        logit = rng.normal(-5.5, 1.0, 16_000)
        label = (rng.random(16_000) < 1 / (1 + np.exp(-logit))).astype(np.int8)
        evaluation = Evaluation()
        evaluation.update(logit + 0.1, label, np.ones(16_000), np.zeros(16_000, np.int64))
        interval = evaluation.metrics()["normalized_entropy_interval"]
        assert interval is not None
        held += interval[0] <= truth <= interval[1]
    assert 0.92 <= held / 400 <= 0.98


@kernel
@quick
@given(examples(inside, least=1, unique=True))
def test_deciles_are_tenths_of_the_weight(rows: list[Example]) -> None:
    deciles = evaluated(rows).deciles()
    assert [d["decile"] for d in deciles] == list(range(1, 11))
    for decile, part in zip(deciles, oracle.split(rows, 10), strict=True):
        if 0 < sum(e.weight for e in part if e.label) < 1e-6:
            continue  # a sliver of a positive, where the two ways of cutting may differ
        assert_group(decile, part)


@kernel
def test_deciles_of_equal_predictions_are_all_alike() -> None:
    deciles = evaluated([Example(-2.0, int(i % 5 == 0)) for i in range(50)]).deciles()
    assert [(d["examples"], d["positives"]) for d in deciles] == [(5, 1)] * 10
    assert all(d["ctr"] == pytest.approx(0.2) for d in deciles)


@kernel
@quick
@given(examples(least=1))
def test_curve_has_a_point_for_every_half_unit_of_logit(rows: list[Example]) -> None:
    parts: dict[int, list[Example]] = {}
    for e in rows:
        parts.setdefault(math.floor(e.logit * 2), []).append(e)
    curve = evaluated(rows).curve()
    assert len(curve) == len(parts)
    for point, key in zip(curve, sorted(parts), strict=True):
        part = parts[key]
        assert_group(point, part)
        assert point["examples"] == len(part)
        assert point["positives"] == sum(e.label for e in part)
        expected = oracle.wilson(oracle.ctr(part), oracle.effective(part))
        assert point["ctr_interval"] == pytest.approx(expected, abs=1e-9)


@kernel
def test_interval_of_subsampled_negatives_is_that_of_their_positives() -> None:
    """A tenth of the negatives at weight 10: the clicks' own scatter is what remains."""
    whole = [Example(-4.6, int(i < 10)) for i in range(1000)]
    kept = [e for e in whole if e.label] + [Example(-4.6, 0, 10.0) for _ in range(99)]
    full, sampled = (evaluated(rows).curve()[0]["ctr_interval"] for rows in (whole, kept))
    assert full is not None
    assert sampled is not None
    assert sampled[0] == pytest.approx(full[0], rel=0.1)
    assert sampled[1] == pytest.approx(full[1], rel=0.1)


@kernel
@quick
@given(examples(coarse_middles), st.integers(2, 6))
def test_buckets_of_time_are_bounded_and_do_not_depend_on_order(
    rows: list[Example], limit: int
) -> None:
    width, parts = oracle.by_time(rows, WIDTH, limit)
    shuffled = sorted(rows, key=lambda e: math.sin(e.ts * 7.0 + e.logit))
    for order in (rows, shuffled):
        buckets = evaluated(order, limit).buckets()
        assert len(buckets) == len(parts) <= limit
        for bucket, part in zip(buckets, parts, strict=True):
            assert_bucket(bucket, width, part)


def assert_bucket(bucket: Bucket, width: int, rows: list[Example]) -> None:
    assert bucket["width_ms"] == width
    assert bucket["ts"] == rows[0].ts // width * width
    assert bucket["positives"] == sum(e.label for e in rows)
    assert bucket["p"] == pytest.approx(oracle.prediction(rows), rel=1e-12)
    assert_metrics(bucket, rows)
    if bucket["auc"] is not None:
        assert bucket["auc"] == pytest.approx(oracle.auc(rows), rel=1e-9)


@kernel
@quick
@given(examples(bin_middles), st.integers(0, 40), st.integers(2, 256))
def test_neither_batches_nor_a_restart_change_a_byte(
    rows: list[Example], cut: int, limit: int
) -> None:
    whole = evaluated(rows, limit)
    first = evaluated(rows[:cut], limit)
    saved = first.state()
    before = frozen(saved)
    second = Evaluation(WIDTH, limit)
    second.restore(saved)
    for evaluation in (first, second):
        evaluation.update(*arrays(rows[cut:]))
        assert frozen(evaluation.state()) == frozen(whole.state())
    assert frozen(saved) == before, "a saved state changed with its evaluation"


@kernel
@quick
@given(examples(bin_middles), st.data())
def test_what_is_taken_back_is_gone(rows: list[Example], data: st.DataObject) -> None:
    back = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    stays = [e for e, gone in zip(rows, back, strict=True) if not gone]
    evaluation = evaluated(rows)
    evaluation.remove(*arrays([e for e, gone in zip(rows, back, strict=True) if gone]))
    assert_metrics(evaluation.metrics(), stays)
    fresh = evaluated(stays)
    assert [p["ctr_interval"] for p in evaluation.curve()] == [
        pytest.approx(p["ctr_interval"], abs=1e-9) for p in fresh.curve()
    ]
    assert [b["examples"] for b in evaluation.buckets()] == [
        len(part) for part in oracle.by_time(stays, WIDTH, 256)[1]
    ]


@kernel
def test_an_emptied_cell_keeps_no_rounding() -> None:
    rows = [Example(-1.0, 0, 0.1), Example(-1.0, 0, 0.2), Example(-1.0, 0, 0.3)]
    assert 0.1 + 0.2 + 0.3 - 0.1 - 0.2 - 0.3 != 0, "these weights would leave some"
    evaluation = evaluated(rows)
    evaluation.remove(*arrays(rows))
    assert not len(evaluation.state()["fine"])
    assert not evaluation.state()["sums"].any()
    assert (evaluation.curve(), evaluation.deciles(), evaluation.buckets()) == ([], [], [])


@kernel
@quick
@given(examples(least=1), st.sampled_from([1.0, 0.3, 0.1]), st.data())
def test_corrected_is_as_if_the_right_label_had_been_known(
    rows: list[Example], rate: float, data: st.DataObject
) -> None:
    """Of each row: nothing to correct, or kept and corrected, or sampled out and corrected."""
    fates = data.draw(st.lists(st.sampled_from("nks"), min_size=len(rows), max_size=len(rows)))
    fated = list(zip(rows, fates, strict=True))
    evaluation = evaluated([e for e, fate in fated if fate == "n"])
    kept = [replace(e, label=0, weight=e.weight / rate) for e, fate in fated if fate == "k"]
    evaluation.update(*arrays(kept))
    corrected = [e for e, fate in fated if fate != "n"]
    logit, _, weight, ts = arrays(corrected)
    evaluation.correct(
        logit,
        weight,
        np.full(len(logit), rate),
        np.array([fate == "k" for fate in fates if fate != "n"], bool),
        ts,
    )
    assert_metrics(evaluation.metrics(), [replace(e, label=1) if f != "n" else e for e, f in fated])


@kernel
def test_taking_back_what_was_never_added_says_so() -> None:
    evaluation = evaluated([Example(0.1, 0), Example(0.2, 1, 1.0, WIDTH)])
    for label, logit, ts in ((1, 0.1, 0), (0, 0.2, 0), (0, 0.1, WIDTH), (0, 0.1, 2 * WIDTH)):
        with pytest.raises(ValueError, match="cannot take back row 0"):
            evaluation.remove(*arrays([Example(logit, label, 1.0, ts)]))
    assert evaluation.metrics()["examples"] == 2


@kernel
@pytest.mark.parametrize("x", [-1e4, -745.2, -40.0, -1e-300, 0.0, 1e-9, 40.0, 745.2, 1e4])
@pytest.mark.parametrize("label", [0, 1])
def test_log_loss_is_stable_at_any_logit(x: float, label: int) -> None:
    got = evaluated([Example(x, label)]).metrics()["log_loss"]
    margin = x if label else -x
    expected = (
        -margin + math.log1p(math.exp(margin)) if margin < 0 else math.log1p(math.exp(-margin))
    )
    assert got == pytest.approx(expected, rel=1e-14, abs=1e-323)


@kernel
@pytest.mark.parametrize(
    "rows",
    [
        [],
        [Example(0.0, 0)],
        [Example(0.0, 1)] * 3,
        [Example(-RANGE, 0), Example(RANGE, 1), Example(1e300, 1), Example(-1e300, 1)],
        [Example(0.0, 0, 1e300), Example(1.0, 1, 1e-300), Example(2.0, 1, 1e300)],
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_json_never_holds_nan(rows: list[Example]) -> None:
    e = evaluated(rows)
    json.dumps([e.metrics(), e.deciles(), e.curve(), e.buckets()], allow_nan=False)


@pytest.mark.parametrize(
    ("logit", "label", "weight"),
    [(math.nan, 0, 1.0), (math.inf, 0, 1.0), (0.0, 2, 1.0), (0.0, -1, 1.0)]
    + [(0.0, 0, w) for w in (0.0, -1.0, math.nan, math.inf)],
)
def test_invalid_rows_are_refused_whole(logit: float, label: int, weight: float) -> None:
    evaluation = Evaluation()
    with pytest.raises(ValueError, match="every"):
        evaluation.update(*arrays([Example(0.0, 1), Example(logit, label, weight)]))
    assert evaluation.metrics()["examples"] == 0


def test_mismatches_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        Evaluation().update(np.zeros(1), np.zeros(2, np.int8), np.ones(1), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="buckets of 5 ms"):
        Evaluation(7).restore(Evaluation(5).state())
    for bad in ((0, 10), (10, 1)):
        with pytest.raises(ValueError, match="bucket_ms >= 1"):
            Evaluation(*bad)


@kernel
def test_read_only_and_strided_arrays_are_taken() -> None:
    logit, label, weight, ts = arrays([Example(1.0, 1)] * 6)
    for array in (logit, label, weight, ts):
        array.flags.writeable = False
    evaluation = Evaluation()
    evaluation.update(logit[::2], label[::2], weight[::2], ts[::2])
    assert evaluation.metrics()["examples"] == 3
