"""A join worker for tests: python -m tests.system.kafka.workers.join and the JSON of `Joining`."""

import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.workers.join.command import JoinConfig, join_app
from deploy.workers.join.kafka_port import JoinTopics, KafkaPort
from deploy.workers.join.partition_driver import DriverSettings
from deploy.workers.service import Connection
from joiner import JoinSettings, SamplingSettings
from joiner.protocol.config import PartitionConfig
from joiner.protocol.partition import JoinPartition
from streams.errors import ClickloopError
from streams.kafka.consume.app import run
from streams.labelled_log import Block, Claim
from streams.schema import EventSchema
from streams.schema import Field as Feature
from streams.spill import FileSpill
from tests.system.kafka.workers.hurt import Step, hurt

# The steps from a claim to a commit, in their order, and that of moving rows out of memory.
STEPS = {
    "claim": Step(KafkaPort, "send", lambda header, _: isinstance(header, Claim)),
    "claimed": Step(KafkaPort, "beginnings"),
    "report": Step(KafkaPort, "report"),
    "reported": Step(KafkaPort, "report", after=True),
    "block": Step(KafkaPort, "send", lambda header, _: isinstance(header, Block)),
    "sent": Step(KafkaPort, "send", lambda header, _: isinstance(header, Block), after=True),
    "acknowledged": Step(JoinPartition, "acknowledged"),
    "commit": Step(KafkaPort, "commit"),
    "committed": Step(KafkaPort, "commit", after=True),
    "spill": Step(FileSpill, "moved"),
}


@dataclass(frozen=True)
class Joining:
    """What a test wants of its workers."""

    address: str
    name: str  # of topics and group
    partitions: int = 1
    fields: dict[str, str] = field(default_factory=dict)
    join: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    pace: dict[str, Any] = field(default_factory=dict)
    setup: dict[str, Any] = field(default_factory=dict)
    app: dict[str, Any] = field(default_factory=dict)
    hurt: str | None = None  # one of STEPS, as `hurt` says
    spill_bytes: int | None = None  # rows in memory; more go to files

    @property
    def topics(self) -> JoinTopics:
        """Their names."""
        kinds = ("impressions", "clicks", "labelled", "dead", "late")
        return JoinTopics(*(f"{self.name}-{kind}" for kind in kinds))

    @property
    def schema(self) -> EventSchema:
        """Of the events."""
        fields = tuple(Feature(name, kind) for name, kind in self.fields.items())  # type: ignore[arg-type] # checked by the schema
        return EventSchema(fields, tuple(self.join.get("click_types", ("click",))))


def main(options: str) -> None:
    """Run the worker."""
    asked = Joining(**json.loads(options))
    if asked.hurt is not None:
        hurt(STEPS, asked.hurt)
    spill = None
    if asked.spill_bytes is not None:
        spill = FileSpill(asked.spill_bytes, Path(tempfile.gettempdir()))
    setup = PartitionConfig(
        asked.schema,
        JoinSettings.model_validate(asked.join),
        SamplingSettings.model_validate(asked.sampling),
        spill=spill,
        **asked.setup,
    )
    config = JoinConfig(
        Connection(
            brokers=asked.address,
            group=asked.name,
            app=asked.app,
            clients={"bootstrap_servers": asked.address},
        ),
        topics=asked.topics,
        partitions=asked.partitions,
        max_skew=60_000,
    )
    app, _ = join_app(setup, config, DriverSettings(**asked.pace))
    try:
        run(app)
    except ClickloopError as error:
        print(f"clickloop: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
