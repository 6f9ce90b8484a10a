"""`make kafka`: one broker on loopback until Ctrl-C, in a temporary folder."""

import signal
import sys
import tempfile
from pathlib import Path

from tests.system.kafka.broker import Broker
from tests.system.kafka.jars import NoKafkaError, fetched, version


def main() -> int:
    """Start the broker, print its address, wait for SIGINT or SIGTERM, stop it."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # so that none is lost while it starts
    try:
        jars = fetched()
    except NoKafkaError as error:
        print(f"clickloop: no Kafka: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="clickloop-kafka-") as folder:
        broker = Broker(jars, Path(folder), quick=False)
        broker.start()
        print(f"Apache Kafka {version()} at {broker.address}; Ctrl-C stops it")
        print(f"export CLICKLOOP_TEST_KAFKA={broker.address}", flush=True)
        try:
            signal.sigwait(signals)
        finally:
            broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
