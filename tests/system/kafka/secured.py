"""A broker that lets nobody in without a password or a certificate, and the files to get in."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.system.kafka.broker import Broker, free_ports
from tests.system.kafka.jars import fetched

USER, PASSWORD = "someone", "some-password"

MORE = """
listeners=PLAINTEXT://127.0.0.1:{{port}},SASL_SSL://127.0.0.1:{sasl},SSL://127.0.0.1:{ssl},\
CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},SASL_SSL://127.0.0.1:{sasl},\
SSL://127.0.0.1:{ssl}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.ssl.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
"""


@dataclass(frozen=True)
class Secured:
    """Where it listens, and a folder with ca.pem, client.pem (certificate and key)."""

    sasl: str
    ssl: str
    folder: Path


@contextmanager
def secured_broker(folder: Path) -> Iterator[Secured]:
    """It runs as long as the `with` block. Raises NoKafkaError where it cannot."""
    jars = fetched()
    _certificates(folder)
    sasl, ssl = free_ports(2)
    more = MORE.format(sasl=sasl, ssl=ssl, user=USER, password=PASSWORD, folder=folder)
    users = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
    broker = Broker(jars, folder / "broker", more=more, users=users)
    broker.start()
    try:
        yield Secured(f"127.0.0.1:{sasl}", f"127.0.0.1:{ssl}", folder)
    finally:
        broker.kill()


def _certificates(folder: Path) -> None:
    """An authority, and what it has signed: the broker, at its address, and a client."""
    ca = ["-CA", "ca.pem", "-CAkey", "ca.key"]
    _openssl(folder, "req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    for name, more in (("broker", ["-addext", "subjectAltName=IP:127.0.0.1"]), ("client", [])):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        _openssl(folder, "req", "-x509", *ca, *files, "-subj", f"/CN={name}", *more)
        parts = [(folder / f"{name}.{kind}").read_text() for kind in ("key", "crt")]
        (folder / f"{name}.pem").write_text("".join(parts))


def _openssl(folder: Path, *words: str) -> None:
    command = ["openssl", *words, "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
