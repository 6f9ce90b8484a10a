"""The main job on files: two logs in; examples, serving versions, metrics and a report out.

A run can be stopped or killed at any moment and resumed: it goes on from its last training
checkpoint with the same rows in the same order, to the same weights byte for byte.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from deploy.compatibility import THIS, Version, check_replay
from deploy.replay import checkpoint, run_metrics
from deploy.replay.examples_writer import ExamplesWriter
from deploy.replay.inputs import Inputs
from deploy.replay.pipeline import Pipeline
from deploy.report.report import write_report
from deploy.settings import Settings
from deploy.storage.checkpoint_store import CheckpointStore, Saved
from deploy.storage.publish import publish, remove_after
from deploy.storage.rocksdb import Store
from ftrl.features import FeatureConfig
from joiner import dead_letters_of
from streams.compute.jit import compiling_s
from streams.deadletter import DeadLetter, DeadLetterWriter
from streams.errors import ClickloopError, ConfigError
from streams.merge import MergedStep
from streams.ndjson_writer import NdjsonWriter
from streams.spill import spill_of

STORE = "store"
EXAMPLES = "examples"
DEAD_LETTERS = "dead-letter.ndjson"
LATE_CLICKS = "late-clicks.ndjson"


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """The run was asked to stop, and its checkpoint is saved."""


def replay(
    settings: Settings,
    impressions: str,
    clicks: str,
    out: Path,
    *,
    resume: bool = False,
    title: str | None = None,
    notes: tuple[str, ...] = (),
    progress: Callable[[int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    version: Version = THIS,
) -> dict[str, Any]:
    """Join, learn, publish and evaluate the logs at `impressions` and `clicks` into `out`.

    The logs are paths: a file, a folder or a glob. resume: go on with what an earlier run left
    in `out`, from its last checkpoint. title, notes: for the report. progress: called with bytes
    read so far, and in all. stop: called between steps; if true the run saves a checkpoint and
    raises Stopped. version: of the program: its rules and defaults; a run that is resumed keeps the
    defaults it began with. Returns the metrics document.

    Raises ConfigError when `out` is in use, or its run had other settings; DataError when a log
    cannot be read (what was learned before is published and saved); StoreError.

    >>> from clickloop import Settings, replay
    >>> settings, out = Settings.load("logs/config.toml"), Path("runs/new")
    >>> metrics = replay(settings, "logs/impressions.ndjson", "logs/clicks.ndjson", out)
    >>> metrics["ledger"]["impressions"]
    401
    """
    inputs = Inputs(settings, impressions, clicks, version.rules)
    if not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"{out}: not an empty folder; name another, remove what it holds, or go on with it: "
            "--resume"
        )
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        store = stack.enter_context(Store(out / STORE, create=True))
        job = _Replay(settings, inputs, store, out, stack, version)
        try:
            job.work(progress, stop)
        except Stopped:
            job.save(finished=False)
            job.wait()
            raise
        except ClickloopError:
            # Whatever ends the input early, what was learned so far stays usable.
            if not job.is_saved:
                job.publish(None)
                job.save(finished=False)
                job.wait()
                run_metrics.write(out, job.document(title or out.name, notes))
            raise
        if not job.finished:
            job.publish(None)
            job.save(finished=True)
        job.wait()
        document = job.document(title or out.name, notes)
        run_metrics.write(out, document)
    write_report(out)
    return document


class _Replay:
    """The parts of one run, and the files they write."""

    def __init__(
        self,
        settings: Settings,
        inputs: Inputs,
        store: Store,
        out: Path,
        stack: ExitStack,
        version: Version,
    ) -> None:
        self._store = store
        self._checkpoints = CheckpointStore(store)
        rules, values = version.rules, self._checkpoints.values
        if values is not None:
            self._checkpoints.check_format("replay into a new folder")
            self._began = version.named_in(store.path, values["join"])
            rules = version.since(self._began)
            given, settings = settings, version.settings(settings, rules.defaults)
            if settings != given:
                inputs = Inputs(settings, inputs.impressions.path, inputs.clicks.path, rules)
            check_replay(store.path, settings, values)
        self._settings = settings
        self._inputs = inputs
        self._pipeline = Pipeline(settings, self.publish, spill_of(settings.spill), rules)
        self._rejections: Counter[str] = Counter()
        self._published: list[dict[str, Any]] = []
        self._seconds = self._compiling = 0.0  # of the runs that this one goes on with
        self.finished = False
        saved = self._checkpoints.last(self._pipeline.learner.slots.dtype)
        # A save now would only replace settings to which the run can still return.
        self.is_saved = saved is not None
        if saved is not None:
            self._restore(saved)
        committed = {} if saved is None else saved.values["outputs"]
        self._examples = ExamplesWriter(
            out / EXAMPLES, settings.events.labelled, keep=committed.get("examples", 0)
        )
        letters, late = out / DEAD_LETTERS, out / LATE_CLICKS
        self._letters = stack.enter_context(DeadLetterWriter(letters, committed.get("letters", 0)))
        self._late = stack.enter_context(NdjsonWriter(late, committed.get("late", 0)))
        remove_after(store, len(self._published))
        self._saved_at = self._pipeline.joiner.ledger.impressions
        self._start, self._compiled = time.perf_counter(), compiling_s()

    def work(self, progress: Callable[[int, int], None] | None, stop: Callable[[], bool]) -> None:
        """Read both logs to their ends."""
        if self.finished:
            return
        every = self._settings.snapshots.checkpoint_every
        for step in self._inputs.steps(self._pipeline.joiner.watermarks):
            self.is_saved = False
            self._reject_read(step)
            joined = self._pipeline.join(step)
            for labelled in joined.labelled:
                for predicted in self._pipeline.train(labelled):
                    self._examples.write(predicted.batch, predicted.p)
            self._reject_joined(joined.rejected)
            self._late.append(joined.late.to_pylist())
            if progress is not None:
                progress(*self._inputs.bytes())
            if stop():
                raise Stopped
            due = every and self._pipeline.joiner.ledger.impressions - self._saved_at >= every
            if due and not self._checkpoints.busy:
                self.save(finished=False)

    def save(self, *, finished: bool) -> None:
        """Save a checkpoint:

        1. the examples, dead letters and late clicks written so far are on disk, 2. the state
        is copied, 3. the store takes it in the background; its commit names how far the
        outputs of step 1 go, so that a resumed run neither repeats nor loses a row.
        """
        outputs = {
            "examples": self._examples.commit(last=finished),
            "letters": self._letters.commit(),
            "late": self._late.commit(),
        }
        values, arrays = checkpoint.state_of(self._pipeline)
        values |= {
            "settings": self._settings.model_dump(mode="json"),
            "inputs": self._inputs.state(),
            "outputs": outputs,
            "rejections": dict(self._rejections),
            "published": list(self._published),
            **self._durations(),
            "finished": finished,
        }
        learner = self._pipeline.learner
        self._checkpoints.save(learner.slots, learner.take_touched(), arrays, values)
        self._saved_at = self._pipeline.joiner.ledger.impressions

    def wait(self) -> None:
        """Return when the last checkpoint is on disk."""
        self._checkpoints.wait()

    def publish(self, ts: int | None) -> None:
        """Publish a serving version, at the event-time mark `ts` or for the end."""
        manifest = publish(
            self._store,
            self._pipeline.learner,
            features=self._pipeline.features.frozen_config(),
            click_types=self._settings.join.click_types,
            cut=self._pipeline.cut,
            ts=ts,
        )
        self._published.append(manifest.summary())

    def document(self, title: str, notes: tuple[str, ...]) -> dict[str, Any]:
        """The metrics document of the run so far."""
        run = {
            "title": title,
            "impressions": self._inputs.impressions.path,
            "clicks": self._inputs.clicks.path,
            "config": self._settings.model_dump(mode="json"),
            "notes": list(notes),
        }
        return run_metrics.document(
            self._pipeline, self._rejections, self._published, run, **self._durations()
        )

    def _restore(self, saved: Saved) -> None:
        """Continue the run that was saved."""
        values = saved.values
        features = FeatureConfig.model_validate(values["settings"]["features"])
        self._inputs.resume(values["inputs"], features, self._began)
        rows = self._inputs.impressions_at(*checkpoint.pending_places(saved))
        checkpoint.restore(self._pipeline, saved, rows)
        self._rejections = Counter(values["rejections"])
        self._published = values["published"]
        self._seconds = values["seconds"]
        self._compiling = values.get("compiling_s", 0.0)  # Earlier versions did not measure it.
        self.finished = values["finished"]

    def _durations(self) -> dict[str, float]:
        """Wall time since the first start, and how much of it compiling took."""
        return {
            "seconds": self._seconds + time.perf_counter() - self._start,
            "compiling_s": self._compiling + compiling_s() - self._compiled,
        }

    def _reject_read(self, step: MergedStep) -> None:
        """Count the rows that reading refused in the ledger, and write them as dead letters."""
        if step.rejected:
            self._pipeline.joiner.count_dead_letters(step.rejected)
            self._write(step.rejected)

    def _reject_joined(self, rejected: pa.RecordBatch) -> None:
        """Write the events that the joiner refused as dead letters, each with its file."""
        self._write(dead_letters_of(rejected, self._settings.join, self._inputs.file))

    def _write(self, letters: tuple[DeadLetter, ...]) -> None:
        self._letters.write(letters)
        self._rejections.update(letter.reason for letter in letters)
