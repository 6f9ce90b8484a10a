"""Settings of Kafka: `[kafka]`, how clients reach it, and `[topics]`, what its topics are."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from streams.duration import Duration

# Keys of [kafka] that must not stand in a file.
SECRETS = ("sasl_password", "ssl_key_password")

Format = Literal["json", "arrow"]  # of messages

_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")  # a topic's may have 249 characters
_SERVER = re.compile(r"[^\s,:/]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


class KafkaSettings(BaseModel, frozen=True, extra="forbid"):
    """Where Kafka is, and how it is spoken to."""

    bootstrap_servers: str = Field(
        default="127.0.0.1:9092",
        description="Some of the brokers, to find the others by: `host:port`, separated by commas.",
    )
    client_id: str = Field(
        default="clickloop",
        description="The name under which brokers log and limit this client. 1 to 200 letters, "
        "digits, dots, hyphens and underscores.",
    )
    group_prefix: str = Field(
        default="clickloop",
        description="The consumer groups are called `<group_prefix>-join` and so on: give each "
        "deployment that shares a cluster its own. Written as a client_id is.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT",
        description="SSL encrypts; SASL logs in with a name and a password, which PLAIN over "
        "SASL_PLAINTEXT sends readable for all on the way. PLAINTEXT, SSL, SASL_PLAINTEXT or "
        "SASL_SSL, as the brokers' listener has it.",
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512",
        description="How the password is shown to the brokers, if the protocol has SASL. PLAIN, "
        "SCRAM-SHA-256 or SCRAM-SHA-512.",
    )
    sasl_username: str | None = Field(
        default=None,
        description="The name to log in with, if the protocol has SASL. Default: none.",
    )
    sasl_password: SecretStr | None = Field(
        default=None,
        exclude=True,
        description="Its password. Never in a file: only in the environment variable "
        "CLICKLOOP_KAFKA__SASL_PASSWORD.",
    )
    ssl_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that may have signed the brokers' certificates. "
        "Default: those that the system trusts.",
    )
    ssl_certificate_file: Path | None = Field(
        default=None,
        description="PEM file with this client's own certificate, where brokers ask for one. "
        "Default: none.",
    )
    ssl_key_file: Path | None = Field(
        default=None,
        description="PEM file with the key of that certificate. Default: it is in the "
        "certificate's own file.",
    )
    ssl_key_password: SecretStr | None = Field(
        default=None,
        exclude=True,
        description="The password that key is encrypted with. Never in a file: only in the "
        "environment variable CLICKLOOP_KAFKA__SSL_KEY_PASSWORD.",
    )
    ssl_verify: bool = Field(
        default=True,
        description="Whether a broker must prove with its certificate that it is the host it was "
        "reached as. false lets anyone on the way read and change everything.",
    )
    session_timeout: Duration = Field(
        default=10_000,
        ge=1_000,
        le=1_800_000,
        description="A worker that brokers have not heard of for so long has died, and another "
        "gets its partitions: the shorter, the sooner, and the more often for a mere pause. A "
        "duration, 1s to 30m; brokers allow 6s to 30m unless they are told otherwise.",
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_servers(cls, servers: str) -> str:
        for server in servers.split(","):
            if not _SERVER.fullmatch(server.strip()):
                raise ValueError(f"{server.strip()!r} is not `host:port`")
        return servers

    @field_validator("client_id", "group_prefix")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is not 1 to 200 letters, digits, dots, hyphens, underscores"
            )
        return name

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if self.uses_sasl != (self.sasl_username is not None):
            problems.append("sasl_username goes with a security_protocol that has SASL")
        files = (self.ssl_ca_file, self.ssl_certificate_file, self.ssl_key_file)
        if any(files) and not self.uses_tls:
            problems.append("the ssl_ files go with a security_protocol that has SSL")
        if self.ssl_key_file and not self.ssl_certificate_file:
            problems.append("ssl_key_file goes with an ssl_certificate_file")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def uses_sasl(self) -> bool:
        """Whether clients log in."""
        return self.security_protocol.startswith("SASL")

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol.endswith("SSL")


class TopicSettings(BaseModel, frozen=True, extra="forbid"):
    """The topics, what they are like, and what is refused in them."""

    impressions: str = Field(
        default="impressions", description="The topic that the impressions are read from."
    )
    clicks: str = Field(
        default="clicks", description="The topic that the clicks are read from, of all types."
    )
    labelled: str = Field(
        default="labelled",
        description="The topic of labelled examples: the joiner's output and state, the learner's "
        "input.",
    )
    dead_letters: str = Field(
        default="dead-letters",
        description="The topic of the rows that were refused, with the reasons.",
    )
    late_clicks: str = Field(
        default="late-clicks", description="The topic of the clicks that came too late to label."
    )
    partitions: int = Field(
        default=4,
        ge=1,
        le=10_000,
        description="How many partitions each topic has; as many workers can share the join. "
        "Fixed: another number means new topics. Partitions, 1 to 10000.",
    )
    replication: int = Field(
        default=3,
        ge=1,
        le=100,
        description="How many brokers hold each partition; all but one of them (at least one) must "
        "have a message before it counts as written. 1 where there is a single broker.",
    )
    retention: Duration = Field(
        default=7 * 86_400_000,
        ge=60_000,
        description="How long messages are kept at least: longer than impressions stay known and "
        "than an outage of the workers may last. A duration, at least 1m.",
    )
    max_message_bytes: int = Field(
        default=8 << 20,
        ge=1 << 20,
        le=1 << 30,
        description="The greatest message that the topics take: batches and labelled blocks. "
        "Bytes, 1 MiB to 1 GiB.",
    )
    max_skew: Duration = Field(
        default=60_000,
        description="How far the `ts` of an event may be ahead of the time when the broker "
        "appended its message; one that is further ahead is refused. A duration, 0 or more; the "
        "error of the producers' clocks.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        bad = [name for name in self.names if not _NAME.fullmatch(name) or name in (".", "..")]
        if bad:
            raise ValueError(f"{bad[0]!r} cannot be a topic's name")
        if len(set(self.names)) < len(self.names):
            raise ValueError("each topic must have a name of its own")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All topics."""
        return (self.impressions, self.clicks, self.labelled, self.dead_letters, self.late_clicks)
