"""`clickloop worker learn`: the labelled topic in, weights and serving versions out, until stopped.

Kafka ── chunks ── agent ── LearnWorker ── OnlineTrainer (one thread) ── store
                      │
                      └─ health, metrics, watchdog
"""

from pathlib import Path

import pyarrow as pa

from deploy.settings import Settings
from deploy.workers.health import Health
from deploy.workers.learn.worker import LearnWorker
from deploy.workers.service import Ticker, connection_of, supervise
from ftrl import Training
from streams.kafka.consume import create_app, run

TICK_S = 0.25  # how often the worker looks whether a save is due, or done

# A value of each type that an example must have.
_PLAIN = {pa.string(): "", pa.int64(): 0, pa.int8(): 0, pa.float64(): 1.0, pa.bool_(): True}


def warm(settings: Settings) -> None:
    """Compile the kernels before the worker joins its group.

    In the first run of a version that takes a minute, in which a member of the group would hold
    its partitions and do nothing.
    """
    schema = settings.events.labelled
    nulls = {field.name: None if field.nullable else _PLAIN[field.type] for field in schema}
    training = Training(settings.training, lambda _: None)
    for _ in training.train(pa.RecordBatch.from_pylist([nulls], schema)):
        pass


def learn(settings: Settings, store: Path, source: Path | None) -> None:
    """Run the worker until SIGTERM or SIGINT. Ends the process, or raises what made it stop.

    The worker learns from the labelled topic while it is given all of the topic's partitions.
    store: a folder of its own. source: the store whose weights a new one begins with.
    """
    reach = connection_of(settings, "learn")
    warm(settings)
    worker = LearnWorker(settings, settings.topics.labelled, store, source)
    app = create_app(reach.group, reach.brokers, worker, exclusive=True, **reach.app)
    worker.attach(app)
    health = Health(settings.worker.learn_http, worker.not_ready, worker.metrics.registry)
    ticker = Ticker(worker.tick, TICK_S)
    supervise(app, health, worker.probe(), settings.worker.stuck_after, ticker)
    try:
        run(app)
    finally:
        if worker.failure is not None:
            raise worker.failure
