"""The numbers of the rules that accept, refuse, close or forget rows.

A rule may change from one version to the next, but not for rows that were judged by it already: a
joiner is rebuilt from the same rows, and must come to the same outcome. So each rule has a number,
1 more with each change. Cuts and checkpoints name the numbers they were made by; what is read
again up to there is judged by these, and what is read after by today's.

Where a rule decides stands a table of what it does by number (`ACCEPT`, `ORDERS`, …). How to
change one: docs/decisions/0019-rules-have-numbers.md.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

KEY = "rules"  # of a joiner's plain state, and of a checkpoint's values


@dataclass(frozen=True, slots=True)
class RuleNumbers:
    """The number of each rule.

    accept: what a row must be, in a file or a message (`streams.validate`, the readers, the codec).
    clock: which times are believed, and by which of them a row moves its log's watermark
    (`streams.files.clock_guard`, `streams.kafka.codec`). order: in which order the rows of two logs
    are taken (`streams.merge`). close: which impressions are too late, when they close, and when
    they are forgotten; which clicks wait (`joiner.core`). match: which clicks label or correct an
    impression. breaker: when missing clicks make emission wait. sample: which negatives are kept.
    defaults: the values of settings that nobody has set (`deploy.compatibility`); unlike the
    others it stays what it was when a store or a topic began.
    """

    accept: int = 1
    clock: int = 1
    order: int = 1
    close: int = 1
    match: int = 1
    breaker: int = 1
    sample: int = 1
    defaults: int = 1

    def to_json(self) -> dict[str, dict[str, int]]:
        """What a cut or a checkpoint says of its rules: those that are not the first, under `KEY`.

        Where all are the first it says nothing, as those of 0.1 do, so their bytes are the same.
        """
        numbers = {name: number for name, number in asdict(self).items() if number != 1}
        return {KEY: numbers} if numbers else {}

    @classmethod
    def of(cls, values: Mapping[str, Any], today: Self) -> Self:
        """The rules that a cut or a checkpoint names; today: the newest that are known here.

        Raises ValueError for a rule, or a number of it, that this program does not know.
        """
        named = values.get(KEY, {})
        known = asdict(today)
        for name, number in named.items():
            newest = known.get(name, 0)
            if number > newest:
                raise ValueError(
                    f"made by rule {name} {number}, this program knows "
                    f"{f'up to {newest}' if newest else 'no such rule'}; use the program that "
                    "wrote it, or a newer one"
                )
        return cls(**named)


FIRST = RuleNumbers()
TODAY = RuleNumbers()
