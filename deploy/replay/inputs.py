"""The two logs of a run: read from the start, or from where a run was saved."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from deploy.settings import Settings
from ftrl.features import FeatureConfig, RenamedFields
from joiner import Watermarks
from streams.compute.arrays import I64
from streams.deadletter import Source
from streams.errors import DataError
from streams.events import CLICKS_END, FOREVER, IMPRESSIONS_END
from streams.files import OFF, GuardSettings, Log, open_log
from streams.merge import MergedStep, merged
from streams.position import ReadCursor, RowPosition, pack_positions, packed_positions
from streams.rules import TODAY, RuleNumbers
from streams.schema import EventSchema


class Input:
    """One log: its path, its files, and how far it has been delivered."""

    def __init__(
        self,
        path: str,
        events: EventSchema,
        source: Source,
        guard: GuardSettings,
        rules: RuleNumbers,
    ) -> None:
        """Raises DataError when there is no log at `path`."""
        self.path = path
        self._rules = rules
        self._events, self._source, self._guard = events, source, guard
        self.at = ReadCursor()
        self.log = self._open()

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `state`. Raises DataError when the files before it have changed."""
        place, newest = saved["at"]
        self.at = ReadCursor(None if place is None else (place[0], place[1]), newest)
        delivered = 0 if place is None else place[0] + 1
        now = [str(file) for file in self.log.files]
        if now[:delivered] != saved["files"][:delivered]:
            raise DataError(
                f"{self.path}: its files are {now}, the checkpoint was made with "
                f"{saved['files']}; bring back those, or replay into a new folder"
            )
        self.log = self._open()

    def state(self) -> dict[str, Any]:
        """What `resume` needs, as plain JSON."""
        return {
            "files": [str(file) for file in self.log.files],
            "at": [self.at.position, self.at.newest],
        }

    def rows_at(
        self, files: I64, rows: I64, events: EventSchema, rules: RuleNumbers
    ) -> list[pa.RecordBatch]:
        """The rows at these places (int64, ascending), read again as these events, by these rules,
        in order.

        Raises DataError when the log no longer holds them.
        """
        if len(rows) == 0:
            return []
        wanted = pack_positions(files, rows)
        before = ReadCursor((int(files[0]), int(rows[0]) - 1), self.at.newest)
        found, count = [], 0
        log = open_log(self.path, events, self._source, guard=OFF, after=before, rules=rules)
        for chunk in log:
            place = packed_positions(chunk.rows)
            at = np.searchsorted(wanted, place)
            hit = wanted[np.minimum(at, len(wanted) - 1)] == place
            if hit.any():
                found.append(chunk.rows.filter(pa.array(hit)))
                count += int(hit.sum())
            if len(place) and place[-1] >= wanted[-1]:
                break
        if count != len(wanted):
            raise DataError(
                f"{self.path}: of {len(wanted)} impressions that a checkpoint waits for only "
                f"{count} are in the log; bring back the log it was made with, or replay into a "
                "new folder"
            )
        return found

    def _open(self) -> Log:
        return open_log(
            self.path,
            self._events,
            self._source,
            guard=self._guard,
            after=self.at,
            rules=self._rules,
        )


@dataclass(frozen=True, slots=True)
class _Era:
    """A part of the impressions, through `until`, and the features and the rules they were
    read with."""

    until: RowPosition
    features: FeatureConfig
    rules: RuleNumbers

    def to_json(self) -> list[Any]:
        """File, row, features, and, where they are not the first, the numbers of the rules."""
        named = self.rules.to_json()
        return [*self.until, self.features.model_dump(mode="json"), *([named] if named else [])]

    @classmethod
    def of(cls, saved: list[Any], today: RuleNumbers) -> "_Era":
        """What `to_json` gave."""
        file, row, features, *named = saved
        rules = RuleNumbers.of(named[0] if named else {}, today)
        return cls((file, row), FeatureConfig.model_validate(features), rules)


class Inputs:
    """Both logs of a run."""

    def __init__(
        self, settings: Settings, impressions: str, clicks: str, rules: RuleNumbers = TODAY
    ) -> None:
        """rules: by which rows are read from here on. Raises DataError when a log is not there."""
        self._settings = settings
        self._rules = rules
        self._eras: list[_Era] = []
        events, guard = settings.events, settings.logs
        self.impressions = Input(impressions, events, "impressions", guard, rules)
        self.clicks = Input(clicks, events, "clicks", guard, rules)

    def steps(self, watermarks: Watermarks) -> Iterator[MergedStep]:
        """The merged events from where the logs are; watermarks: the joiner's, at this point."""
        ended = [
            code
            for code, watermark in (
                (IMPRESSIONS_END, watermarks.impressions),
                (CLICKS_END, watermarks.clicks),
            )
            if watermark == FOREVER
        ]
        for step in merged(self.impressions.log, self.clicks.log, self._rules.order):
            self.impressions.at, self.clicks.at = step.impressions_at, step.clicks_at
            # The end of a log comes once, also when it came before the run was saved.
            yield replace(step, order=step.order[~np.isin(step.order, ended)]) if ended else step

    def resume(self, saved: Mapping[str, Any], features: FeatureConfig, rules: RuleNumbers) -> None:
        """Go on from a `state`; features, rules: those it was saved with.

        Raises DataError when files before it have changed.
        """
        self.impressions.resume(saved["impressions"])
        self.clicks.resume(saved["clicks"])
        self._eras = [_Era.of(each, self._rules) for each in saved.get("eras", ())]
        changed = (features, rules) != (self._settings.features, self._rules)
        if self.impressions.at.position is not None and changed:
            self._eras.append(_Era(self.impressions.at.position, features, rules))

    def state(self) -> dict[str, Any]:
        """What `resume` needs, as plain JSON."""
        return {
            "impressions": self.impressions.state(),
            "clicks": self.clicks.state(),
            "eras": [era.to_json() for era in self._eras],
        }

    def impressions_at(self, files: I64, rows: I64) -> list[pa.RecordBatch]:
        """The impressions at these places (int64, ascending), as they were first read, in order.

        Read with the features of then, a row is accepted again whatever is in the columns of
        fields added since: there its values are missing. Raises DataError when the log no longer
        holds them.
        """
        now, wanted = self._settings.features, pack_positions(files, rows)
        found: list[pa.RecordBatch] = []
        start = 0
        end = [_Era((int(files[-1]), int(rows[-1])), now, self._rules)] if len(files) else []
        for era in [*self._eras, *end] if end else []:
            until = pack_positions(*(np.array([number]) for number in era.until))
            stop = int(np.searchsorted(wanted, until[0], "right"))
            events = era.features.event_schema(self._settings.join.click_types)
            part = self.impressions.rows_at(files[start:stop], rows[start:stop], events, era.rules)
            renamed, schema = RenamedFields().since(era.features, now), self._settings.events
            found += [renamed.select(batch, schema.impressions) for batch in part]
            start = stop
        return found

    def bytes(self) -> tuple[int, int]:
        """Bytes read so far, and in all."""
        logs = (self.impressions.log, self.clicks.log)
        return sum(log.bytes_read for log in logs), sum(log.bytes_total for log in logs)

    def file(self, source: str, index: int) -> str:
        """The name of a file of a log."""
        log = self.impressions.log if source == "impressions" else self.clicks.log
        return str(log.files[index])
