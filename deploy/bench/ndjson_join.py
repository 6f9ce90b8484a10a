"""The join of two NDJSON files, into nothing: what `bench join` compares with Flink's.

    python -m deploy.bench.ndjson_join FOLDER

FOLDER holds `impressions.ndjson` and `clicks.ndjson`. Prints how many impressions were labelled,
and how many of them 1.
"""

import sys
from pathlib import Path

from deploy.bench.join_workload import JOIN, SCHEMA
from joiner import Joiner, SamplingSettings
from streams.files import open_log
from streams.merge import merged


def main(folder: Path) -> None:
    """Join them to their ends."""
    impressions = open_log(folder / "impressions.ndjson", SCHEMA, "impressions")
    clicks = open_log(folder / "clicks.ndjson", SCHEMA, "clicks")
    joiner = Joiner(SCHEMA, JOIN, SamplingSettings())
    rows = 0
    for step in merged(impressions, clicks):
        output = joiner.process(step.impressions, step.clicks, step.order)
        rows += sum(batch.num_rows for batch in output.labelled)
    print(rows, joiner.ledger.positives)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
