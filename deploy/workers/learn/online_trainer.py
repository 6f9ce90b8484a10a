"""The online trainer: a model, its store, and how far each partition was learned from.

All of it is saved in one commit, so wherever the process dies the next one goes on exactly there.
No Kafka and no clock here: messages and times are passed in.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from deploy.compatibility import THIS, Version, check_learner, check_weights
from deploy.settings import Settings
from deploy.storage import checkpoint
from deploy.storage.checkpoint_store import CheckpointStore, Saved
from deploy.storage.publish import publish, remove_after
from deploy.storage.rocksdb import Store
from deploy.workers.learn.metrics import LearnMetrics
from ftrl import DeduplicatingReader, Training
from ftrl.features import FeatureConfig, RenamedFields
from ftrl.table import LAYOUTS
from streams.errors import ConfigError, DataError
from streams.labelled_log import Block, Entry
from streams.rules import RuleNumbers

log = logging.getLogger(__name__)

POISON = (
    "Nothing of this message was learned from, and it is never skipped: the learner stops here "
    "until it can be read. If another program wrote it, end that one; if it is damaged for good, "
    "go on in a new labelled topic, from the weights learned so far: --from with this store, "
    "--store with a new folder."
)


class OnlineTrainer:
    """Training on labelled messages, which holds the store's lock from the first moment to `close`.

    Not for several threads at once.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        topic: str,
        partitions: int,
        source: Path | None,
        metrics: LearnMetrics,
        version: Version = THIS,
    ) -> None:
        """Go on with the state in the store `folder`; a new one begins with the model in `source`.

        partitions: how many `topic` has. source: the store of a replay or another worker.
        version: of the program; a store keeps the defaults it began with. Raises StoreHeldError
        while another process has the store, ConfigError if it was made with other settings or of
        another topic, StoreError.
        """
        self._topic = topic
        self._metrics = metrics
        self._store = Store(folder, create=True)
        try:
            self._checkpoints = CheckpointStore(self._store)
            self._rules = RuleNumbers(defaults=version.rules.defaults)
            if self._checkpoints.values is not None:
                self._rules = version.named_in(self._store.path, self._checkpoints.values)
            settings = version.settings(settings, self._rules.defaults)
            self._settings = settings
            self._training = Training(settings.training, self._publish)
            self._published = 0
            self._examples = 0  # at the last save
            self._saved_at = float("-inf")
            self._saving: Mapping[int, int] | None = None
            self._dirty = self._due = False
            # False within a message, of which a save would hold a part.
            self._consistent = True
            self._renamed = RenamedFields()
            self._warned = False  # that examples lack columns of new fields
            if self._checkpoints.values is not None:
                self._reader = self._resumed(self._checkpoints.values, partitions)
            else:
                self._reader = DeduplicatingReader(partitions)
                if source is not None:
                    self._begin_from(source)
            remove_after(self._store, self._published)
        except BaseException:
            self._store.close()
            raise

    def following(self) -> dict[int, int]:
        """The offset to read each partition from; one that is not there: from its beginning."""
        numbers = range(self._reader.state()["partitions"])
        found = {number: self._reader.next_offset(number) for number in numbers}
        return {number: offset for number, offset in found.items() if offset is not None}

    def take(self, partition: int, entry: Entry, value: bytes, where: str) -> None:
        """Learn from the next message, if it counts.

        where: its place in words. Raises DataError if it cannot be read or learned from, or
        messages are missing before it; nothing can be saved any more then.
        """
        self._consistent = False
        metrics = self._metrics
        with metrics.step("read"):
            batches = self._read(partition, entry, value, where)
        for batch in batches:
            kind = batch.column("kind").to_numpy()
            with metrics.step("learn"):
                self._learn(batch, partition, where)
            metrics.learned(len(kind), int(kind.sum()))
        metrics.message(_kind(entry, batches))
        self._dirty = True
        self._consistent = True

    def save_if_due(self, now: float) -> Mapping[int, int]:
        """Start a save if one is due; now: seconds of a steady clock.

        Returns the offset that each partition was learned up to in a save that was committed
        since the last call: the group may commit these. Raises StoreError if a save failed.
        """
        done = self._committed()
        learned = self._training.cut.examples - self._examples
        every = self._settings.snapshots.checkpoint_every
        full = self._due or bool(every and learned >= every)
        late = self._dirty and now - self._saved_at >= self._settings.worker.save_every / 1000
        if (full or late) and self._consistent and not self._checkpoints.busy:
            done = {**done, **self._committed()}
            self.save(now)
        return done

    def save(self, now: float) -> None:
        """Start to save:

        1. the state is copied, with how far each partition was learned from; 2. the store takes it
        in the background (its own steps: `deploy.storage.checkpoint_store`), and its one commit
        names all of it.
        """
        with self._metrics.step("save"):
            values, arrays = checkpoint.training_state(self._training)
            values |= {
                "settings": self._settings.model_dump(mode="json"),
                "topic": self._topic,
                "intake": self._reader.state(),
                "published": self._published,
                "former_names": self._renamed.previous_names,
                **self._rules.to_json(),
            }
            learner = self._training.learner
            self._checkpoints.save(learner.slots, learner.take_touched(), arrays, values)
        self._saving = self.following()
        self._saved_at = now
        self._examples = self._training.cut.examples
        self._dirty = self._due = False
        self._metrics.model(self._training)

    def close(self, now: float, *, save: bool) -> Mapping[int, int]:
        """Close the store, after a last save if `save`. Returns and raises as `save_if_due`."""
        try:
            self._checkpoints.wait()
            if save and self._consistent and self._dirty:
                self.save(now)
            self._checkpoints.wait()
            return self._committed()
        finally:
            self._store.close()

    @property
    def training(self) -> Training:
        """The model and its evaluation, read-only."""
        return self._training

    def _committed(self) -> Mapping[int, int]:
        if self._saving is None or self._checkpoints.busy:
            return {}
        self._checkpoints.wait()
        done, self._saving = self._saving, None
        self._metrics.saved(time.time())
        return done

    def _read(self, partition: int, entry: Entry, value: bytes, where: str) -> list[pa.RecordBatch]:
        try:
            batches = self._reader.take(partition, entry, value)
        except DataError as error:
            raise DataError(f"{where}: {error} {POISON}") from error
        return [self._checked(batch, where) for batch in batches]

    def _checked(self, batch: pa.RecordBatch, where: str) -> pa.RecordBatch:
        absent = self._renamed.absent(batch.schema.names)
        if absent and not self._warned:
            self._warned = True
            log.warning(
                "%s: these examples were joined without %s, so there their values are missing; "
                "start the join worker again with the same [features]",
                where,
                ", ".join(absent),
            )
        try:
            return self._renamed.select(batch, self._settings.events.labelled)
        except KeyError as error:
            raise DataError(
                f"{where}: these examples have no column {error.args[0]} of the type that the "
                "settings say; the join worker and the learner need the same [features] and "
                f"[join] click_types. {POISON}"
            ) from error

    def _learn(self, batch: pa.RecordBatch, partition: int, where: str) -> None:
        try:
            for _ in self._training.train(batch, partition):
                pass
        except (ValueError, DataError) as error:
            raise DataError(f"{where}: cannot be learned from ({error}). {POISON}") from error

    def _publish(self, ts: int) -> None:
        with self._metrics.step("publish"):
            manifest = publish(
                self._store,
                self._training.learner,
                features=self._training.features.frozen_config(),
                click_types=self._settings.join.click_types,
                cut=self._training.cut,
                ts=ts,
            )
        self._published = manifest.version
        # So that a version is hardly ever published again after a crash.
        self._due = True
        log.info("published serving version %d", manifest.version)

    def _resumed(self, values: Mapping[str, Any], partitions: int) -> DeduplicatingReader:
        if "intake" not in values:
            raise ConfigError(
                f"{self._store.path}: the store of a replay; start from a copy of its weights: "
                "--from with this folder, --store with a new one"
            )
        self._checkpoints.check_format("start anew with --store")
        check_learner(self._store.path, self._settings, values["settings"])
        if values["topic"] != self._topic:
            raise ConfigError(
                f"{self._store.path}: learned from the topic {values['topic']}, the settings say "
                f"{self._topic}; use that topic, or start anew: --from with this folder, "
                "--store with a new one"
            )
        try:
            reader = DeduplicatingReader(partitions, values["intake"])
        except ValueError as error:
            raise ConfigError(f"{self._store.path}: {error}") from error
        checkpoint.restore_training(self._training, self._saved(self._checkpoints, values))
        self._renamed = self._renamed_since(values)
        self._published = values["published"]
        self._examples = self._training.cut.examples
        log.info("going on after %d examples, as %s says", self._examples, self._store.path)
        return reader

    def _begin_from(self, source: Path) -> None:
        """Begin with the model of another store, and nothing else of that store."""
        with Store(source, read_only=True) as store:
            checkpoints = CheckpointStore(store)
            if checkpoints.values is None:
                raise ConfigError(
                    f"{source}: holds no training state; name the store of a finished replay"
                )
            check_weights(source, self._settings, checkpoints.values["settings"])
            checkpoint.restore_model(self._training, self._saved(checkpoints, checkpoints.values))
            self._renamed = self._renamed_since(checkpoints.values)
        log.info("starting with the weights of %s", source)
        self.save(float("-inf"))
        self._checkpoints.wait()

    def _renamed_since(self, values: Mapping[str, Any]) -> RenamedFields:
        before = FeatureConfig.model_validate(values["settings"]["features"])
        renamed = RenamedFields(values.get("former_names"))  # a replay's store has none
        return renamed.since(before, self._settings.features)

    @staticmethod
    def _saved(source: CheckpointStore, values: Mapping[str, Any]) -> Saved:
        saved = source.last(LAYOUTS[values["settings"]["learner"]["layout"]])
        assert saved is not None, "there are values, so there is a save"
        return saved


def _kind(entry: Entry, batches: list[pa.RecordBatch]) -> str:
    """The kind of a message, for the metrics: one of MESSAGES."""
    if batches:
        return "learned"
    if not isinstance(entry.header, Block):
        return "foreign" if entry.header is None else "claim"
    return "empty" if entry.header.rows == 0 else "void"
