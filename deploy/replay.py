"""The main job on files: two logs in; examples, serving versions, metrics and a report out."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from deploy import metrics, snapshots
from deploy.loop import Loop
from deploy.outputs import ExamplesWriter, append_ndjson
from deploy.report import write_report
from deploy.settings import Settings
from deploy.store import Store
from joiner.settings import JoinSettings
from streams.deadletter import DeadLetter, DeadLetterWriter
from streams.duration import readable
from streams.errors import ConfigError
from streams.logs import Log, open_log
from streams.merge import Step, merged

STORE = "store"
EXAMPLES = "examples"
DEAD_LETTERS = "dead-letter.ndjson"
LATE_CLICKS = "late-clicks.ndjson"


def replay(
    settings: Settings,
    impressions: str,
    clicks: str,
    out: Path,
    *,
    title: str | None = None,
    notes: tuple[str, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Join, learn, publish and evaluate the logs at `impressions` and `clicks` into `out`.

    The logs are paths: a file, a folder or a glob. title, notes: for the report. progress:
    called with bytes read so far, and in all. Returns the metrics document. Raises ConfigError
    when `out` is in use, DataError when a log cannot be read (what was learned before is
    published), StoreError.
    """
    logs = (
        open_log(impressions, settings.events, "impressions", guard=settings.logs),
        open_log(clicks, settings.events, "clicks", guard=settings.logs),
    )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: not an empty folder; name another, or remove what it holds")
    out.mkdir(parents=True, exist_ok=True)
    run = {
        "title": title or out.name,
        "impressions": impressions,
        "clicks": clicks,
        "config": settings.model_dump(mode="json"),
        "notes": list(notes),
    }
    with (
        Store(out / STORE, create=True) as store,
        ExamplesWriter(out / EXAMPLES, settings.events.labelled) as examples,
        DeadLetterWriter(out / DEAD_LETTERS) as letters,
    ):
        job = _Replay(settings, logs, store, examples, letters, out / LATE_CLICKS)
        try:
            job.work(progress)
        finally:
            # Whatever ends the input early, what was learned so far stays usable.
            document = job.finish(run)
            metrics.write(out, document)
    write_report(out)
    return document


class _Replay:
    """One run's parts and where their output goes."""

    def __init__(
        self,
        settings: Settings,
        logs: tuple[Log, Log],
        store: Store,
        examples: ExamplesWriter,
        letters: DeadLetterWriter,
        late_clicks: Path,
    ) -> None:
        self._settings = settings
        self._logs = logs
        self._store = store
        self._examples = examples
        self._letters = letters
        self._late_clicks = late_clicks
        self._late_clicks.touch()
        self._rejections: Counter[str] = Counter()
        self._published: list[snapshots.Manifest] = []
        self._loop = Loop(settings, self._publish)
        self._start = time.perf_counter()

    def work(self, progress: Callable[[int, int], None] | None) -> None:
        """Read both logs to their ends."""
        total = sum(log.bytes_total for log in self._logs)
        for step in merged(*self._logs):
            self._reject(step)
            joined = self._loop.join(step)
            for labelled in joined.labelled:
                for predicted in self._loop.learn(labelled):
                    self._examples.write(predicted.batch, predicted.p)
            self._dead_letters(joined.rejected)
            append_ndjson(self._late_clicks, joined.late)
            if progress is not None:
                progress(sum(log.bytes_read for log in self._logs), total)

    def finish(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Publish the last version; the metrics document of the run."""
        self._publish(None)
        return metrics.document(
            self._loop,
            self._rejections,
            [manifest.summary() for manifest in self._published],
            run,
            time.perf_counter() - self._start,
        )

    def _publish(self, ts: int | None) -> None:
        self._published.append(
            snapshots.publish(
                self._store,
                self._loop.learner,
                features=self._loop.features.frozen_config(),
                click_types=self._settings.join.click_types,
                cut=self._loop.cut,
                ts=ts,
            )
        )

    def _reject(self, step: Step) -> None:
        """Rows refused at the edge: into the ledger and to the dead letters."""
        letters = step.rejects
        if not letters:
            return
        self._loop.joiner.count_rejected(
            impressions=sum(letter.source == "impressions" for letter in letters),
            clicks=Counter(x.click_type or "" for x in letters if x.source == "clicks"),
        )
        self._write(letters)

    def _dead_letters(self, rejected: pa.RecordBatch) -> None:
        """Events the joiner refused: their rows name the place, the logs know the files."""
        files = {"impressions": self._logs[0].files, "clicks": self._logs[1].files}
        details = _details(self._settings.join)
        self._write(
            tuple(
                DeadLetter(
                    source=row["source"],
                    file=str(files[row["source"]][row["src_offset"]]),
                    src_offset=row["src_offset"],
                    src_row=row["src_row"],
                    reason=row["reason"],
                    detail=details[row["reason"]],
                    raw=json.dumps({"impression_id": row["impression_id"], "ts": row["ts"]}),
                    click_type=row["type"],
                )
                for row in rejected.to_pylist()
            )
        )

    def _write(self, letters: tuple[DeadLetter, ...]) -> None:
        self._letters.write(letters)
        self._rejections.update(letter.reason for letter in letters)


def _details(join: JoinSettings) -> dict[str, str]:
    """What each of the joiner's reasons means, and what to do."""
    lateness = readable(join.lateness)
    return {
        "too_late": f"the impression came when its window had closed already: it is more than "
        f"{lateness} out of order; raise [join] lateness if such rows are normal",
        "before_impression": f"the click is more than {lateness} before its impression; compare "
        "the clocks of the two services, or raise [join] lateness",
        "orphan": "no impression with this id came in time: it is missing from the log, or more "
        f"than {lateness} out of order, or no longer known; see [join] lateness and "
        "dedupe_horizon",
    }
