"""The scorer of candidates: all that it needs is in a serving version."""

from pathlib import Path
from typing import Self

import pyarrow as pa

from deploy.storage import versions
from deploy.storage.manifest import Manifest
from deploy.storage.rocksdb import Store
from ftrl import probabilities
from ftrl.features import Features
from ftrl.serving import ServedWeights
from streams.compute.arrays import F64

SCORES = pa.schema(
    [
        pa.field("impression_id", pa.string(), nullable=False),
        pa.field("p", pa.float64(), nullable=False),
        pa.field("logit", pa.float64(), nullable=False),
    ]
)


class Scorer:
    """One serving version, held in memory. Read-only, so threads may share it.

    >>> from clickloop import Scorer
    >>> scorer = Scorer.open("runs/small/store")
    >>> scorer.manifest.version, sorted(scorer.manifest.features.fields)
    (1, ['ad_id', 'city', 'price'])
    """

    def __init__(self, manifest: Manifest, table: ServedWeights) -> None:
        """Score with `table`, as `manifest` describes it."""
        self.manifest = manifest
        self._table = table
        self._features = Features(manifest.features, learn=False)

    @classmethod
    def open(cls, store: Path | str, version: int | None = None) -> Self:
        """A scorer of a version in the folder `store`, by default the newest.

        The store is let go of again, and never locked: its worker may go on publishing. Raises
        StoreError if there is no such store or version, or it is damaged.
        """
        with Store(Path(store), read_only=True) as opened:
            return cls(*versions.load(opened, version))

    def logits(self, batch: pa.RecordBatch, *, as_logged: bool = False) -> F64:
        """The logit of each row of `batch` (schema EventSchema.impressions), float64.

        as_logged: use each row's own values where the configuration has a `serve_as`.
        """
        c = self._features.coordinates(batch, serving=not as_logged)
        return self._table.logit(c.indptr, c.keys, c.values, batch.column("offset").to_numpy())

    def score(self, batch: pa.RecordBatch, *, as_logged: bool = False) -> pa.RecordBatch:
        """Id, P(click) and logit of each row, in order (schema SCORES)."""
        logit = self.logits(batch, as_logged=as_logged)
        columns = [batch.column("impression_id"), pa.array(probabilities(logit)), pa.array(logit)]
        return pa.RecordBatch.from_arrays(columns, schema=SCORES)
