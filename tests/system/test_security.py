"""The whole loop on a broker that asks for a password or a certificate, and checks both ways."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests import ROOT
from tests.support import commands, needs, small_logs
from tests.support.waiting import eventually
from tests.system.kafka.jars import NoKafkaError
from tests.system.kafka.secured import PASSWORD, USER, Secured, secured_broker
from tests.system.kafka.topics import unique
from tests.system.kafka.workers.child import Child
from tests.system.kafka.workers.learning import answer

SECRET = "CLICKLOOP_KAFKA__SASL_PASSWORD"
WAYS = ("PLAIN", "SCRAM-SHA-512", "certificate")


@pytest.fixture(scope="module")
def secured(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """kafka: asked for first, so that without Kafka it is this that says so."""
    del kafka
    try:
        with secured_broker(tmp_path_factory.mktemp("secured")) as broker:
            yield broker
    except NoKafkaError as error:
        needs.lacks(f"no Kafka: {error}", required=True)


def settings(broker: Secured, way: str, *, ca: bool = True) -> str:
    """Small logs' settings, for a broker that is reached in this way."""
    name = unique("secured")
    kinds = ("impressions", "clicks", "labelled", "dead_letters", "late_clicks")
    topics = "".join(f'{kind} = "{name}-{kind}"\n' for kind in kinds)
    if way == "certificate":
        reach = f'bootstrap_servers = "{broker.ssl}"\nsecurity_protocol = "SSL"\n'
        reach += f'ssl_certificate_file = "{broker.folder}/client.pem"\n'
    else:
        reach = f'bootstrap_servers = "{broker.sasl}"\nsecurity_protocol = "SASL_SSL"\n'
        reach += f'sasl_mechanism = "{way}"\nsasl_username = "{USER}"\n'
    reach += f'ssl_ca_file = "{broker.folder}/ca.pem"\n' if ca else ""
    return small_logs.CONFIG + (
        f'[kafka]\ngroup_prefix = "{name}"\n{reach}'
        f"[topics]\n{topics}partitions = 1\nreplication = 1\n"
        '[worker]\njoin_http = "127.0.0.1:0"\nlearn_http = "127.0.0.1:0"\nidle_timeout = "1s"\n'
    )


def clickloop(
    words: Sequence[str | Path], password: str = PASSWORD
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "deploy", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, SECRET: password},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("way", WAYS)
def test_the_loop(way: str, secured: Secured, tmp_path: Path) -> None:
    logs = small_logs.write(tmp_path, rows=300)
    config = tmp_path / "secured.toml"
    config.write_text(settings(secured, way))
    secret = {SECRET: PASSWORD}
    done = commands.clickloop("topics", "create", "--config", config, env=secret)
    assert done.returncode == 0, done.stderr
    produce = ("produce", "--config", config)
    assert commands.clickloop(*produce, "clicks", logs.clicks, env=secret).returncode == 0
    if way != "SCRAM-SHA-512":
        return
    letters = ("--dead-letters", tmp_path / "dead")
    done = commands.clickloop(*produce, "impressions", logs.impressions, *letters, env=secret)
    assert done.returncode == 3, done.stderr  # bad rows
    join = ("worker", "join", "--config", str(config))
    learn = ("worker", "learn", "--config", str(config), "--store", str(tmp_path / "store"))
    workers = [
        Child("deploy", *words, log=tmp_path / f"{words[1]}.log", **secret)
        for words in (join, learn)
    ]
    try:
        for worker in workers:
            eventually(lambda worker=worker: "http://" in worker.said, 120)  # type: ignore[misc]
            address = worker.said.split("http://")[1].split()[0]
            eventually(lambda at=address: answer(f"http://{at}/readyz")[0] == 200, 60)  # type: ignore[misc]
        for worker in workers:
            worker.stop()
            assert PASSWORD not in worker.said
    finally:
        for worker in workers:
            worker.kill()


@pytest.mark.parametrize(
    ("words", "refusal"),
    # A broker that hung up is sometimes all that kafka-python sees of a wrong password.
    [
        (("topics", "check"), "SaslAuthenticationFailed|socket disconnected"),
        (("worker", "join"), "SaslAuthenticationFailed"),
    ],
)
def test_a_wrong_password_and_an_unknown_authority_are_named(
    words: tuple[str, ...], refusal: str, secured: Secured, tmp_path: Path
) -> None:
    config = tmp_path / "secured.toml"
    config.write_text(settings(secured, "SCRAM-SHA-512"))
    refused = clickloop([*words, "--config", config], "another")
    config.write_text(settings(secured, "SCRAM-SHA-512", ca=False))
    unknown = clickloop([*words, "--config", config])
    for done, says in ((refused, refusal), (unknown, "CERTIFICATE_VERIFY_FAILED")):
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert re.search(says, done.stderr)
        assert done.stderr.endswith("is Kafka there, and [kafka] right?\n")
        assert "another" not in done.stderr
