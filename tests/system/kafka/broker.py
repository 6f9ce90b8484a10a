"""One Kafka broker, alone in its cluster, as a process of its own."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.support.waiting import eventually, is_stopped

STARTED = "Kafka Server started"
PATIENCE_S = 60.0

# Everything a test would otherwise wait for is set to happen at once.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
log.dirs={data}
auto.create.topics.enable=false
log.message.timestamp.type=LogAppendTime
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""

LOGGING = """\
status=error
appender.file.type=File
appender.file.name=file
appender.file.fileName={file}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
"""


class Broker:
    """A broker in `folder`, always at the same address: it may stop and start again.

    With `quick` it starts in half the time, and does not run as fast as it could.
    """

    def __init__(
        self, jars: Path, folder: Path, *, quick: bool = True, more: str = "", users: str = ""
    ) -> None:
        """more: further properties. users: who may log in by SCRAM, as `--add-scram` takes them."""
        self._jars = jars
        self._quick = quick
        self._more = more
        self._users = users
        self._folder = folder
        self._port, self._controller = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"127.0.0.1:{self._port}"
        self.log = folder / "broker.log"

    @property
    def pid(self) -> int:
        """The process, which must be running."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves. Raises RuntimeError with the end of its log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        properties = self._folder / "server.properties"
        if not properties.exists():
            self._format(properties)
        self.log.unlink(missing_ok=True)
        self._process = self._java("kafka.Kafka", str(properties))
        deadline = time.monotonic() + PATIENCE_S
        while not (self.log.exists() and STARTED in self.log.read_text(errors="replace")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the broker did not start: {self._last_words()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in good order; by force if that takes too long. Harmless if it has ended."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it as a power cut would. Harmless if it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it in its tracks; its connections stay open and silent."""
        os.kill(self.pid, signal.SIGSTOP)
        # The signal is only sent by then; a thread that runs meanwhile may still answer.
        eventually(lambda: is_stopped(self.pid))

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def _format(self, properties: Path) -> None:
        properties.write_text(
            PROPERTIES.format(
                port=self._port, controller=self._controller, data=self._folder / "data"
            )
            + self._more.format(port=self._port, controller=self._controller)
        )
        (self._folder / "log4j2.properties").write_text(LOGGING.format(file=self.log))
        words = ["format", "--cluster-id", "Y2xpY2tsb29wLXRlc3RzMQ", "--config", str(properties)]
        words += ["--add-scram", self._users] if self._users else []
        process = self._java("kafka.tools.StorageTool", *words)
        if process.wait():
            raise RuntimeError(f"the broker's folder was not formatted: {self._last_words()}")

    def _java(self, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = ["java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData"]
        command += ["-XX:TieredStopAtLevel=1"] if self._quick else []
        command += [f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}"]
        command += ["-cp", f"{self._jars}/*", main, *arguments]
        with (self._folder / "broker.out").open("ab") as out:
            # In a session of its own, so that Ctrl-C reaches who started it first.
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self._folder,
                start_new_session=True,
            )

    def _last_words(self) -> str:
        texts = (self._folder / "broker.out", self.log)
        lines = [line for text in texts if text.exists() for line in text.open(errors="replace")]
        return "".join(lines[-20:])


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
