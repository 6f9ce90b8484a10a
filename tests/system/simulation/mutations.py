"""Each rule of the protocol, switched off: the simulation must notice."""

from collections.abc import Callable
from typing import Any

import pytest

from ftrl.labelled_reader import DeduplicatingReader
from joiner.core.joiner import Joiner
from joiner.protocol import phases, recovery
from joiner.protocol.cut import CutBuilder, RecoveryPoints
from joiner.protocol.effects import Commit, Effect, ReadLabelled
from joiner.protocol.phases import LivePhase, SearchPhase
from joiner.protocol.recovery import Recovery
from streams.events import FOREVER
from streams.labelled_log import Block, Claim, FencingFilter

Patch = Callable[[pytest.MonkeyPatch], None]


def _replace(owner: Any, name: str, change: Callable[[Any], Any]) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(owner, name, change(getattr(owner, name)))

    return patch


def _claims_do_not_count(_: Any) -> Any:
    def take(self: FencingFilter, entry: Any) -> Block | None:
        message = entry.message
        if not isinstance(message, Block):
            return None
        if self.number is not None and message.number <= self.number:
            return None
        self.number = message.number
        return message

    return take


def _last_written(_: Any) -> Any:
    def last_block(entries: list[Any], start: int, beginning: int) -> Any:
        for entry in reversed(entries):
            if isinstance(entry.message, Block):
                return recovery.LastBlock(entry.offset, entry.message)
        return recovery.LastBlock() if start <= beginning else None

    return last_block


def _state_before_claim(original: Any) -> Any:
    def ask(self: SearchPhase) -> Any:
        asked = original(self)
        return ReadLabelled(asked.start, max(asked.start, asked.stop - 2))

    return ask


def _foreign_messages_are_not_read(original: Any) -> Any:
    def labelled(self: LivePhase, entries: list[Any], start: int) -> Any:
        entries = [entry for entry in entries if not isinstance(entry.message, Claim)]
        return original(self, entries, start)

    return labelled


def _commits_what_was_read(original: Any) -> Any:
    def count(self: LivePhase) -> list[Effect]:
        effects = original(self)
        at = [at.after[0] for at in self.inputs.merge.at]
        return [Commit(at[0], at[1]) if isinstance(e, Commit) else e for e in effects]

    return count


def _latest(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        def latest(self: RecoveryPoints, watermark: int, oldest_open: int, now: Any) -> Any:
            return original(self, *change((watermark, oldest_open, now)))

        return latest

    return wrap


def _cut(**changes: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        def close(self: CutBuilder, joiner: Any, merge: Any) -> Any:
            cut = original(self, joiner, merge)
            fields = {f: getattr(cut, f) for f in cut.__struct_fields__}
            return type(cut)(**fields | {f: change(cut) for f, change in changes.items()})

        return close

    return wrap


def _all_again(_: Any) -> Any:
    return lambda batches, rows: batches  # noqa: ARG005 - as the function it stands for


def _nothing(_: Any) -> Any:
    return lambda *_: None


def _forgets_its_number(original: Any) -> Any:
    def state(self: DeduplicatingReader) -> dict[str, Any]:
        saved: dict[str, Any] = original(self)
        return saved | {"read": [[None, -1, None] for _ in saved["read"]]}

    return state


RULES: dict[str, Patch] = {
    "blocks of other writers are void after a claim (learner)": _replace(
        FencingFilter, "take", _claims_do_not_count
    ),
    "blocks of other writers are void after a claim (restart)": _replace(
        phases, "last_block", _last_written
    ),
    "the state is read after the claim": _replace(SearchPhase, "ask", _state_before_claim),
    "a writer that was superseded stops": _replace(
        LivePhase, "labelled", _foreign_messages_are_not_read
    ),
    "inputs are committed when no longer needed": _replace(
        LivePhase, "_count", _commits_what_was_read
    ),
    "a restart begins before every known impression": _replace(
        RecoveryPoints, "latest", _latest(lambda given: (given[0] + 60, given[1], given[2]))
    ),
    "a restart begins before every open impression": _replace(
        RecoveryPoints, "latest", _latest(lambda given: (given[0], FOREVER, given[2]))
    ),
    "a cut tells which impressions were not accepted": _replace(
        CutBuilder, "close", _cut(passed=lambda cut: bytes(len(cut.passed)))
    ),
    "a cut tells which clicks did not wait": _replace(
        CutBuilder, "close", _cut(met=lambda cut: bytes(len(cut.met)))
    ),
    "a cut tells where logs were idle": _replace(
        CutBuilder,
        "close",
        _cut(steps=lambda cut: tuple(type(s)(s.impressions, s.clicks, 0) for s in cut.steps)),
    ),
    "a cut published in part is finished": _replace(phases, "_after", _all_again),
    "changed settings apply from the next cut on": _replace(Recovery, "_reconfigure", _nothing),
    "the counts are those of all that was read": _replace(Joiner, "set_counters", _nothing),
    "the learner saves its place with its weights": _replace(
        DeduplicatingReader, "state", _forgets_its_number
    ),
}
