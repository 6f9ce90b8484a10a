"""Rows moved out of memory: nothing but their place changes."""

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.settings import Settings
from joiner import Joiner, JoinSettings, SamplingSettings
from joiner.core.kernel_types import Sizes
from joiner.protocol.config import PartitionConfig
from streams.errors import ConfigError
from streams.spill import FileSpill, SpillSettings, spill_of
from tests.joiner.test_joiner import cases, through_bytes
from tests.joiner.test_memory import SCHEMA, stream
from tests.oracles.join import OracleJoin
from tests.support.join_events import Event, plain_ledger, run, settings_of
from tests.system.simulation.schedule import Schedule
from tests.system.simulation.workers import rows_of

SCHEDULES = 12
EXAMPLES = settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Counting(FileSpill):
    """Files, and how many batches went into them."""

    batches = 0

    def moved(self, batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """As the files do."""
        self.batches += len(batches)
        return super().moved(batches)


SMALL = Sizes(batch=3)


@pytest.mark.kernel
@pytest.mark.parametrize("budget", [0, 300])
def test_results_are_those_without(tmp_path: Path, budget: int) -> None:
    """A budget of 0 bytes moves every row; 300 keep a few in memory."""
    moved, corrected, restored = [0], [0], [0]

    @given(cases(), st.sampled_from([0, 40, 40]), st.integers(0, 80), st.booleans())
    @EXAMPLES
    def compare(
        case: tuple[OracleJoin, list[Event], list[int]], horizon: int, at: int, back: bool
    ) -> None:
        oracle, events, cuts = case
        oracle = replace(oracle, horizon=horizon, breaker_wait=0)
        spill = Counting(budget, tmp_path)
        plain, spilled = (Joiner(*settings_of(oracle), each, sizes=SMALL) for each in (None, spill))
        expected = run(plain, events, cuts, oracle.types)
        found = run(spilled, events[:at], cuts, oracle.types)
        if back:
            state = through_bytes(spilled.state())
            again = None if at % 2 else spill
            spilled = Joiner.restore(*settings_of(oracle), state, again, sizes=SMALL)
        rest = run(spilled, events[at:], [c - at for c in cuts if c > at], oracle.types)
        assert found.labelled + rest.labelled == expected.labelled
        assert found.late + rest.late == expected.late
        assert found.rejected + rest.rejected == expected.rejected
        assert plain_ledger(spilled) == plain_ledger(plain)
        assert plain.spilled_bytes == 0
        moved[0] += spill.batches
        corrected[0] += plain.ledger.corrections > 0
        restored[0] += back

    compare()
    assert moved[0] > 20
    assert corrected[0] >= 3
    assert restored[0] >= 10


def joined(spill: FileSpill | None, rows: int) -> tuple[Joiner, list[pa.RecordBatch]]:
    """A joiner with a window of a minute, after so many impressions, and what it gave."""
    join = JoinSettings(window=60_000, lateness=1_000)
    joiner = Joiner(SCHEMA, join, SamplingSettings(), spill, sizes=SMALL)
    labelled = []
    for one in stream(rows, 500):
        labelled += joiner.process(*one).labelled
        budget = None if spill is None else spill.budget
        assert budget is None or joiner.row_bytes <= budget
    return joiner, labelled


def test_memory_stays_within_the_budget(tmp_path: Path) -> None:
    plain, expected = joined(None, 18_000)
    all_bytes = plain.row_bytes
    spilled, found = joined(FileSpill(all_bytes // 4, tmp_path), 18_000)
    assert pa.Table.from_batches(found).equals(pa.Table.from_batches(expected))
    assert spilled.spilled_bytes >= all_bytes * 3 // 4
    assert spilled.row_bytes + spilled.spilled_bytes == pytest.approx(all_bytes, rel=0.1)
    # The oldest go first: what comes next stays in memory.
    rows = spilled._pending.rows
    assert 0 < rows._moved < len(rows._batches)


def test_everything_stays_where_it_fits(tmp_path: Path) -> None:
    spill = Counting(1 << 30, tmp_path)
    joiner, _ = joined(spill, 9_000)
    assert spill.batches == 0
    assert (joiner.spilled_bytes, joiner.row_bytes > 0) == (0, True)


def test_batches_moved_together_are_those_given(tmp_path: Path) -> None:
    """Slices, nulls, and dictionaries that differ from batch to batch."""
    batches = [
        pa.record_batch(
            {
                "text": pa.array([f"{k} {row}" for row in range(9)]).dictionary_encode(),
                "list": pa.array([["x"] * (row % 3) or None for row in range(9)]),
                "number": pa.array([None, *range(8)], pa.int64()),
            }
        ).slice(k, 5)
        for k in range(4)
    ]
    assert FileSpill(0, tmp_path).moved(batches) == batches


def mapped_bytes() -> int:
    """Bytes of this process's mappings of files that have no name."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = (line.split()[0].split("-") for line in lines if line.endswith("(deleted)"))
    return sum(int(stop, 16) - int(start, 16) for start, stop in spans)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_room_is_free_when_the_rows_are_gone(tmp_path: Path) -> None:
    size = 1 << 22
    gc.collect()
    before, open_files = mapped_bytes(), len(os.listdir("/proc/self/fd"))
    given_ = pa.record_batch({"x": pa.array(np.zeros(size // 8))})
    batches = [FileSpill(0, tmp_path).moved([given_])[0] for _ in range(3)]
    assert list(tmp_path.iterdir()) == []  # and so nothing is left over, whatever happens
    assert mapped_bytes() - before >= 3 * size
    assert len(os.listdir("/proc/self/fd")) == open_files
    part = batches[1].slice(7, 2)
    del batches
    assert size <= mapped_bytes() - before < 2 * size
    assert part == given_.slice(7, 2)
    del part
    assert mapped_bytes() == before


ON_A_SMALL_DISK = """
import sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from streams.errors import explained
from streams.spill import FileSpill
batch = pa.record_batch({"x": pa.array(np.arange(50_000))})
spill, kept = FileSpill(0, Path(sys.argv[1])), []
try:
    while True:
        kept += spill.moved([batch])
except OSError as error:
    assert all(one.equals(batch) for one in kept)
    print(len(kept), explained(error))
"""


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    mount = f'mount -t tmpfs -o size=2m none "{tmp_path}" && exec "$@"'
    private = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*private, "true"], check=False).returncode
    ):
        pytest.skip("no file system may be mounted here")
    command = [*private, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    expected = f"[spill] folder {tmp_path}: the disk is full; free space and run again"
    assert done.stdout == f"5 {expected}\n"


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone: no files can be made here: .*\[spill\] folder"):
        spill_of(SpillSettings(memory_budget=1, folder=str(tmp_path / "gone")))


def test_the_settings_say_how_much_and_where(tmp_path: Path) -> None:
    assert spill_of(SpillSettings()) is None
    spill = spill_of(SpillSettings(memory_budget=3, folder=str(tmp_path)))
    assert spill is not None
    assert spill.budget == 3 << 20
    assert Settings.model_fields["spill"].default == SpillSettings()


def test_a_partition_that_spills_writes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that crash and take over: the same blocks, and so the same cuts."""
    expected = [Schedule(seed).run() for seed in range(SCHEDULES)]
    spill = Counting(0, tmp_path)
    make = Schedule._new_setup

    def spilling(self: Schedule) -> PartitionConfig:
        return replace(make(self), spill=spill)

    monkeypatch.setattr(Schedule, "_new_setup", spilling)
    for seed, world in enumerate(expected):
        found = Schedule(seed).run()
        assert [one.header for one in found.labelled] == [one.header for one in world.labelled]
        for one, other in zip(found.labelled, world.labelled, strict=True):
            assert rows_of(one.value) == rows_of(other.value)
        assert found.happened == world.happened
    assert spill.batches > SCHEDULES
