"""A run that is stopped and resumed ends as one that was not: rows, weights, metrics, files."""

import errno
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from deploy import settings
from deploy.replay import inputs
from deploy.replay import replay as replay_module
from deploy.replay.replay import STORE, Stopped, replay
from deploy.storage import checkpoint_store
from deploy.storage.checkpoint_store import CheckpointStore
from deploy.storage.rocksdb import Store, StoreError
from deploy.workers.learn.metrics import LearnMetrics
from deploy.workers.learn.online_trainer import OnlineTrainer
from ftrl.table.layout import LAYOUTS, columns
from streams.errors import ConfigError, DataError
from streams.files.logs import open_log
from streams.spill import FileSpill
from tests.support import small_logs
from tests.support.outcomes import outcome
from tests.support.small_logs import SmallLogs
from tests.support.tiers import tries


@pytest.fixture(scope="module", autouse=True)
def small_blocks() -> Iterator[None]:
    """Many steps a run, so that there are many places to stop at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs, "open_log", functools.partial(open_log, block_rows=150))
        yield


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> SmallLogs:
    return small_logs.write(tmp_path_factory.mktemp("logs"), settings=small_logs.FORGETFUL)


def loaded(logs: SmallLogs, **changes: Any) -> settings.Settings:
    values = settings.load(logs.config)
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        part = getattr(values, section).model_copy(update={leaf: value})
        values = values.model_copy(update={section: part})
    return values


def stops_after(steps: int) -> Callable[[], bool]:
    left = [steps]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


def run(logs: SmallLogs, out: Path, values: settings.Settings, stops: list[int]) -> dict[str, Any]:
    """Run to the end, stopping after so many steps each time."""
    paths = str(logs.impressions), str(logs.clicks)
    for steps in stops:
        try:
            replay(values, *paths, out, resume=True, stop=stops_after(steps))
        except Stopped:
            continue
        break
    replay(values, *paths, out, resume=True)
    return outcome(out)


@pytest.fixture(scope="module", params=list(LAYOUTS))
def straight(
    request: pytest.FixtureRequest, logs: SmallLogs, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any]]:
    out = tmp_path_factory.mktemp("straight") / "out"
    values = loaded(logs, learner__layout=request.param)
    replay(values, str(logs.impressions), str(logs.clicks), out)
    return request.param, outcome(out)


def test_everything_is_on(straight: tuple[str, dict[str, Any]]) -> None:
    ledger = straight[1]["metrics"]["ledger"]
    for count in ("corrections", "sampled_out", "late_clicks", "orphan_clicks", "rejected"):
        assert ledger[count] > 3, count
    assert straight[1]["metrics"]["corrected"] != straight[1]["metrics"]["metrics"]
    model = straight[1]["metrics"]["model"]
    assert model["features_admitted"] <= 100
    assert model["evicted"] > 100, model


@hypothesis_settings(
    max_examples=tries(6),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example is too slow to shrink
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    stops=st.lists(st.integers(0, 25), min_size=1, max_size=3),
    every=st.sampled_from([0, 100, 700]),
)
def test_stopped_and_resumed_is_as_if_never_stopped(
    logs: SmallLogs,
    straight: tuple[str, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    stops: list[int],
    every: int,
) -> None:
    layout, expected = straight
    values = loaded(logs, learner__layout=layout, snapshots__checkpoint_every=every)
    found = run(logs, tmp_path_factory.mktemp("resumed") / "out", values, stops)
    for part, value in expected.items():
        assert found[part] == value, part


def test_rates_from_counts_are_resumed_too(logs: SmallLogs, tmp_path: Path) -> None:
    values = loaded(logs, learner__rates="counts")
    paths = str(logs.impressions), str(logs.clicks)
    replay(values, *paths, tmp_path / "straight")
    expected = outcome(tmp_path / "straight")
    found = run(logs, tmp_path / "resumed", values, [4, 9])
    for part, value in expected.items():
        assert found[part] == value, part
    with pytest.raises(Stopped):
        replay(values, *paths, tmp_path / "stopped", stop=stops_after(5))
    with pytest.raises(ConfigError, match="rates: 'gradients' here, 'counts' in the checkpoint"):
        replay(loaded(logs), *paths, tmp_path / "stopped", resume=True)


def test_a_mark_that_the_next_row_reaches_is_kept_in_mind(tmp_path: Path) -> None:
    """Stopped between a row and a mark, and the first row after the stop is beyond it."""
    few = small_logs.write(tmp_path / "logs", rows=400)
    values = loaded(few, snapshots__every=2000)
    expected = run(few, tmp_path / "straight", values, [])
    found = run(few, tmp_path / "resumed", values, [2, 2])
    assert len(expected["versions"]) > 200
    for part, value in expected.items():
        assert found[part] == value, part


def test_other_settings_are_refused_key_by_key(logs: SmallLogs, tmp_path: Path) -> None:
    paths = str(logs.impressions), str(logs.clicks)
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        replay(loaded(logs), *paths, out, stop=stops_after(5))
    for layout in ("float64", "q2.13"):
        with pytest.raises(ConfigError, match=f"layout: '{layout}' here, 'float32' in the check"):
            replay(loaded(logs, learner__layout=layout), *paths, out, resume=True)
    changed = loaded(logs, learner__alpha=0.9, join__window=60_000)
    with pytest.raises(ConfigError) as caught:
        replay(changed, *paths, out, resume=True)
    assert "[learner] alpha: 0.9 here, 0.3 in the checkpoint" in str(caught.value)
    assert "[join] window: 60000 here, 600000 in the checkpoint" in str(caught.value)
    fields = dict(loaded(logs).features.fields)
    del fields["city"]
    features = loaded(logs).features.model_copy(update={"fields": fields, "crosses": ()})
    with pytest.raises(ConfigError, match=r"\[features\] fields.city: is gone; its weights"):
        replay(loaded(logs).model_copy(update={"features": features}), *paths, out, resume=True)
    replay(
        loaded(logs, snapshots__checkpoint_every=3, learner__threads=2), *paths, out, resume=True
    )
    replay(loaded(logs, spill__memory_budget=1), *paths, out, resume=True)


def test_a_run_of_an_older_clickloop_is_told_from_one_with_other_settings(
    logs: SmallLogs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, out = (str(logs.impressions), str(logs.clicks)), tmp_path / "out"
    monkeypatch.setattr(checkpoint_store, "FORMAT", checkpoint_store.UNSTATED_FORMAT)
    with pytest.raises(Stopped):
        replay(loaded(logs), *paths, out, stop=stops_after(5))
    monkeypatch.undo()
    for values in (loaded(logs), loaded(logs, learner__alpha=0.9)):
        with pytest.raises(StoreError, match=r"of an older clickloop.*replay into a new folder, o"):
            replay(values, *paths, out, resume=True)
    metrics = LearnMetrics(dict, lambda: True)
    with Store(out / STORE, read_only=True) as store:
        saved = CheckpointStore(store).last(LAYOUTS["float32"])
    assert saved is not None
    learner = OnlineTrainer(loaded(logs), tmp_path / "learner", "labelled", 1, out / STORE, metrics)
    held = learner.training.learner.state()
    learner.close(0.0, save=False)
    keys, z, *_ = columns(saved.slots)
    assert len(keys) > 50
    assert np.asarray(held["keys"]).tolist() == keys.tolist()
    assert np.asarray(held["z"]).tobytes() == z.tobytes()


def test_changed_logs_are_refused(logs: SmallLogs, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "b.ndjson").write_bytes(logs.impressions.read_bytes())
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        replay(loaded(logs), str(folder), str(logs.clicks), out, stop=stops_after(5))
    (folder / "a.ndjson").write_bytes(logs.impressions.read_bytes())
    with pytest.raises(DataError, match=r"the checkpoint was made with .*b\.ndjson"):
        replay(loaded(logs), str(folder), str(logs.clicks), out, resume=True)
    (folder / "a.ndjson").unlink()
    (folder / "b.ndjson").write_text("")
    with pytest.raises(DataError, match="bring back the log it was made with"):
        replay(loaded(logs), str(folder), str(logs.clicks), out, resume=True)


@pytest.mark.parametrize("name", ["dead-letter.ndjson", "examples/part-00001.parquet"])
def test_an_output_that_was_lost_is_not_taken_for_whole(
    logs: SmallLogs, tmp_path: Path, name: str
) -> None:
    paths, out = (str(logs.impressions), str(logs.clicks)), tmp_path / "out"
    values = loaded(logs, snapshots__checkpoint_every=400)
    with pytest.raises(Stopped):
        replay(values, *paths, out, stop=stops_after(9))
    before = {path: path.read_bytes() for path in out.glob("**/*.*") if "store" not in path.parts}
    whole = (out / name).read_bytes()
    (out / name).unlink()
    if name.endswith("ndjson"):
        (out / name).write_bytes(whole[:-1])
    with pytest.raises(DataError, match=rf"{name}: .* the checkpoint; bring the file back"):
        replay(values, *paths, out, resume=True)
    (out / name).write_bytes(whole)
    assert before == {path: path.read_bytes() for path in before}
    replay(values, *paths, out, resume=True)


def test_resume_of_a_finished_run_changes_nothing(
    logs: SmallLogs, straight: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    layout, expected = straight
    values = loaded(logs, learner__layout=layout)
    run(logs, tmp_path / "out", values, [])
    assert run(logs, tmp_path / "out", values, []) == expected


def test_damage_then_resume_with_the_file_mended(logs: SmallLogs, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    lines = logs.impressions.read_bytes().splitlines(keepends=True)
    (folder / "a.ndjson").write_bytes(b"".join(lines[:2000]))
    (folder / "b.parquet").write_bytes(b"PAR1")
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"b\.parquet"):
        replay(loaded(logs), str(folder), str(logs.clicks), out)
    (folder / "b.parquet").unlink()
    (folder / "b.ndjson").write_bytes(b"".join(lines[2000:]))
    document = replay(loaded(logs), str(folder), str(logs.clicks), out, resume=True)
    assert document["ledger"]["impressions"] == len(lines)
    assert document["ledger"]["open"] == 0


class FullDisk(FileSpill):
    """Every row goes to a file, until there have been so many files."""

    left = 12

    def moved(self, batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device", "the disk")
        return super().moved(batches)


def test_a_full_disk_then_resume(
    logs: SmallLogs,
    straight: tuple[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The step that could not be finished is taken again; all rows come back from files."""
    layout, expected = straight
    values = loaded(logs, learner__layout=layout, snapshots__checkpoint_every=100)
    out = tmp_path / "out"
    monkeypatch.setattr(replay_module, "spill_of", lambda _: FullDisk(0, tmp_path))
    with pytest.raises(OSError, match="No space left"):
        replay(values, str(logs.impressions), str(logs.clicks), out)
    assert list((out / "examples").iterdir())
    assert not (out / "metrics.json").exists()
    monkeypatch.setattr(replay_module, "spill_of", lambda _: FileSpill(0, tmp_path))
    assert run(logs, out, values, []) == expected
