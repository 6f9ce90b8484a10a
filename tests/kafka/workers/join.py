"""A join worker for tests: python -m tests.kafka.workers.join OPTIONS, the JSON of `Joining`."""

import json
import sys
from dataclasses import dataclass, field
from typing import Any

from deploy.worker_join import Where, join_app
from joiner import JoinSettings, SamplingSettings
from joiner.agent import JoinTopics
from joiner.partition import Setup
from joiner.runner import Pace
from streams.kafka.app import run
from streams.schema import EventSchema
from streams.schema import Field as Feature


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
    setup = Setup(
        asked.schema,
        JoinSettings.model_validate(asked.join),
        SamplingSettings.model_validate(asked.sampling),
        **asked.setup,
    )
    where = Where(
        brokers=asked.address,
        group=asked.name,
        topics=asked.topics,
        partitions=asked.partitions,
        max_skew=60_000,
        clients={"bootstrap_servers": asked.address},
        app=asked.app,
    )
    app, _ = join_app(setup, where, Pace(**asked.pace))
    run(app)


if __name__ == "__main__":
    main(*sys.argv[1:])
