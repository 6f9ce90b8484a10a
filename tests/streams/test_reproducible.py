"""Portable arithmetic: known vectors, the C library as an approximate oracle, statistics."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.compute.splitmix import GOLDEN, finalize, finalize_word
from streams.simulator.reproducible import Random, exp, log, logit, sigmoid

MASK = (1 << 64) - 1


def test_finalize_gives_the_published_sequence_of_splitmix64() -> None:
    """The reference implementation's first outputs for seed 1234567."""
    states = np.array([(1234567 + i * GOLDEN) & MASK for i in range(1, 6)], np.uint64)
    assert (
        finalize(states).tolist()
        == list(map(finalize_word, states))
        == [
            6457827717110365317,
            3203168211198807973,
            9817491932198370423,
            4593380528125082431,
            16408922859458223821,
        ]
    )


@given(st.floats(-700, 700))
def test_exp(x: float) -> None:
    assert exp(np.array([x]))[0] == pytest.approx(math.exp(x), rel=1e-14)


@given(st.floats(1e-300, 1e300) | st.floats(0.5, 2))
def test_log(x: float) -> None:
    assert log(np.array([x]))[0] == pytest.approx(math.log(x), rel=1e-14, abs=0)


@given(st.floats(-20, 20))
def test_logit_undoes_sigmoid(x: float) -> None:
    p = sigmoid(np.array([x]))
    assert p[0] == pytest.approx(1 / (1 + math.exp(-x)), rel=1e-14)
    assert logit(p)[0] == pytest.approx(x, abs=1e-6)


def test_some_values_to_the_last_bit() -> None:
    """What every machine must get: a change of any bit changes the simulator's logs."""
    x = np.array([-20.5, 0.1, 3.14159, 650.25])
    assert [value.hex() for value in exp(x).tolist()] == [
        "0x1.57a3afeed00acp-30",
        "0x1.1aec7b35a00d4p+0",
        "0x1.7240068789162p+4",
        "0x1.14c0882aea6e2p+938",
    ]
    assert [value.hex() for value in log(np.abs(x)).tolist()] == [
        "0x1.829d485d01dd2p+1",
        "-0x1.26bb1bbb55515p+1",
        "0x1.250cf662abf9ap+0",
        "0x1.9e8d03f927283p+2",
    ]
    assert Random(1).uniform("x", np.arange(3)).tolist() == [
        0.18259201386771573,
        0.3969882108441717,
        0.2765056872754219,
    ]
    assert Random(1).bell("x", np.arange(3)).tolist() == [
        -2.2670001546956087,
        -1.5101793702211757,
        -2.264912263859826,
    ]


@given(st.integers(0, 2**63 - 1), st.text(), st.lists(st.integers(0, 2**50), min_size=1))
def test_a_number_depends_on_its_own_counter_alone(
    seed: int, name: str, counters: list[int]
) -> None:
    random = Random(seed)
    together = random.bits(name, np.array(counters, dtype=np.int64)).tolist()
    assert together == [random.bits(name, np.array([c], dtype=np.int64))[0] for c in counters]


def test_numbers_are_distinct_and_look_random() -> None:
    random, counter = Random(7), np.arange(400_000)
    assert len(np.unique(random.bits("a", counter))) == len(counter)
    u, other = random.uniform("a", counter), random.uniform("b", counter)
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    # Five standard deviations of each statistic.
    assert abs(u.mean() - 1 / 2) < 5 * math.sqrt(1 / 12 / len(u))
    assert abs(u.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / len(u))
    for lagged in (other, np.roll(u, 1), Random(8).uniform("a", counter)):
        assert abs(np.corrcoef(u, lagged)[0, 1]) < 5 / math.sqrt(len(u))
    cells = np.bincount(random.below("c", counter, 64), minlength=64)
    assert len(cells) == 64
    expected = len(counter) / 64
    assert ((cells - expected) ** 2 / expected).sum() < 63 + 5 * math.sqrt(2 * 63)


def test_bell_is_nearly_normal() -> None:
    z = Random(3).bell("z", np.arange(400_000))
    assert abs(z.mean()) < 5 / math.sqrt(len(z))
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / len(z))
    assert np.abs(z).max() < 3.47
    assert abs((z**3).mean()) < 0.02
    # Excess kurtosis of a sum of four uniforms: −1.2 / 4.
    assert (z**4).mean() == pytest.approx(2.7, abs=0.03)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.3, 1.0])
def test_happens_at_its_rate(rate: float) -> None:
    n = 200_000
    count = np.count_nonzero(Random(5).happens("event", np.arange(n), rate))
    assert abs(count - n * rate) <= 5 * math.sqrt(n * rate * (1 - rate))
