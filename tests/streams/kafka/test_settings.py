"""[kafka] and [topics]: what may be said, where secrets are from, what the clients are told."""

import ssl
import subprocess
from pathlib import Path

import pytest
from faust.auth import SASLCredentials, SSLCredentials
from pydantic import SecretStr, ValidationError

from deploy import settings
from streams.errors import ConfigError
from streams.kafka.security import client_options, faust_options
from streams.kafka.settings import KafkaSettings, TopicSettings

MINIMAL = '[features.fields]\ncity = { kind = "categorical" }\n'
SASL = 'security_protocol = "SASL_SSL"\nsasl_username = "me"\n'


def load(tmp_path: Path, text: str) -> settings.Settings:
    path = tmp_path / "config.toml"
    path.write_text(MINIMAL + text)
    return settings.load(path)


def test_a_secret_in_the_file_is_an_error_that_does_not_repeat_it(tmp_path: Path) -> None:
    text = f'[kafka]\n{SASL}sasl_password = "hunter2"\nssl_key_password = "hunter3"\nclient_id = ""'
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "3 problems" in message
    assert "[kafka] sasl_password: a secret does not belong in a file" in message
    assert "CLICKLOOP_KAFKA__SSL_KEY_PASSWORD" in message
    assert "[kafka] client_id" in message
    assert "hunter" not in message
    with pytest.raises(ConfigError, match="1 problem in the settings"):
        load(tmp_path, '[kafka]\nsasl_password = ""\n')


def test_a_secret_from_the_environment_is_used_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKLOOP_KAFKA__SASL_PASSWORD", "12345")
    loaded = load(tmp_path, "[kafka]\n" + SASL)
    assert client_options(loaded.kafka)["sasl_plain_password"] == "12345"
    assert "12345" not in repr(loaded)
    assert "12345" not in loaded.model_dump_json()


def test_a_missing_password_stops_only_who_needs_it(tmp_path: Path) -> None:
    loaded = load(tmp_path, "[kafka]\n" + SASL)
    with pytest.raises(ConfigError, match="CLICKLOOP_KAFKA__SASL_PASSWORD"):
        client_options(loaded.kafka)


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        (KafkaSettings, {"bootstrap_servers": "localhost"}, "'localhost' is not `host:port`"),
        (KafkaSettings, {"bootstrap_servers": "a:1,"}, "'' is not `host:port`"),
        (KafkaSettings, {"group_prefix": "a b"}, "'a b' is not 1 to 200"),
        (KafkaSettings, {"security_protocol": "SASL_SSL"}, "sasl_username goes with"),
        (KafkaSettings, {"sasl_username": "me"}, "sasl_username goes with"),
        (KafkaSettings, {"ssl_ca_file": "x"}, "the ssl_ files go with"),
        (KafkaSettings, {"security_protocol": "SSL", "ssl_key_file": "x"}, "ssl_key_file goes"),
        (TopicSettings, {"clicks": "impressions"}, "a name of its own"),
        (TopicSettings, {"clicks": "a/b"}, "'a/b' cannot be a topic's name"),
        (TopicSettings, {"partitions": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_work_is_refused(
    section: type[KafkaSettings | TopicSettings], values: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        section.model_validate(values)


def test_by_default_nothing_is_encrypted() -> None:
    options = client_options(KafkaSettings(bootstrap_servers="a:1, b:2"))
    assert options == {
        "bootstrap_servers": ["a:1", "b:2"],
        "client_id": "clickloop",
        "security_protocol": "PLAINTEXT",
    }
    assert "broker_credentials" not in faust_options(KafkaSettings())


def test_tls_is_verified_unless_told_otherwise() -> None:
    for verify in (True, False):
        kafka = KafkaSettings(security_protocol="SSL", ssl_verify=verify)
        credentials = faust_options(kafka)["broker_credentials"]
        assert isinstance(credentials, SSLCredentials)
        for context in (client_options(kafka)["ssl_context"], credentials.context):
            assert context.check_hostname is verify
            assert context.verify_mode == (ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_both_clients_log_in_alike(protocol: str) -> None:
    values = {"security_protocol": protocol, "sasl_username": "me", "sasl_mechanism": "PLAIN"}
    kafka = KafkaSettings.model_validate(values | {"sasl_password": SecretStr("pw")})
    options = client_options(kafka)
    assert [
        options[f"sasl_{key}"] for key in ("mechanism", "plain_username", "plain_password")
    ] == [
        "PLAIN",
        "me",
        "pw",
    ]
    assert ("ssl_context" in options) is (protocol == "SASL_SSL")
    credentials = faust_options(kafka)["broker_credentials"]
    assert isinstance(credentials, SASLCredentials)
    assert (credentials.username, credentials.password) == ("me", "pw")
    assert (credentials.protocol.value, credentials.mechanism.value) == (protocol, "PLAIN")
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
        scram = kafka.model_copy(update={"sasl_mechanism": mechanism})
        assert faust_options(scram)["broker_credentials"].mechanism.value == mechanism


def test_certificates(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -days 1 -subj /CN=me -passout pass:pw"
    words = [*command.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    kafka = KafkaSettings(
        security_protocol="SSL",
        ssl_ca_file=certificate,
        ssl_certificate_file=certificate,
        ssl_key_file=key,
    )
    with pytest.raises(ConfigError, match="CLICKLOOP_KAFKA__SSL_KEY_PASSWORD"):
        client_options(kafka)
    known = kafka.model_copy(update={"ssl_key_password": SecretStr("pw")})
    context = client_options(known)["ssl_context"]
    assert [ca["subject"] for ca in context.get_ca_certs()] == [((("commonName", "me"),),)]
    absent = known.model_copy(update={"ssl_ca_file": tmp_path / "absent.pem"})
    with pytest.raises(ConfigError, match=r"absent\.pem.*cannot be used"):
        client_options(absent)
