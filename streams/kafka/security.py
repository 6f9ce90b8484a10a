"""Credentials of clients, and checks of the brokers' certificates."""

import ssl
from typing import Any

from streams.errors import ConfigError
from streams.kafka.settings import KafkaSettings


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Arguments of kafka-python's clients: address, name, credentials.

    Raises ConfigError if the password is not in the environment or a certificate is no good.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in kafka.bootstrap_servers.split(",")],
        "client_id": kafka.client_id,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.uses_tls:
        options["ssl_context"] = _tls_context(kafka)
    if kafka.uses_sasl:
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = _password(kafka)
    return options


def faust_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Arguments of `create_app`: its name for the brokers, its credentials, its heartbeats.

    Raises ConfigError as `client_options` does.
    """
    # Here, as Faust takes half a second to load, and only workers need it.
    from faust.auth import SASLCredentials, SSLCredentials

    options: dict[str, Any] = {
        "broker_client_id": kafka.client_id,
        "session_timeout": kafka.session_timeout / 1000,
    }
    credentials: SASLCredentials | SSLCredentials | None = None
    if kafka.uses_sasl:
        credentials = SASLCredentials(
            username=kafka.sasl_username,
            password=_password(kafka),
            ssl_context=_tls_context(kafka) if kafka.uses_tls else None,
            mechanism=kafka.sasl_mechanism,
        )
    elif kafka.uses_tls:
        credentials = SSLCredentials(_tls_context(kafka))
    if credentials is not None:
        options["broker_credentials"] = credentials
    return options


def _password(kafka: KafkaSettings) -> str:
    if kafka.sasl_password is None:
        raise ConfigError(
            f"[kafka] sasl_password: {kafka.security_protocol} needs one; set the environment "
            "variable CLICKLOOP_KAFKA__SASL_PASSWORD"
        )
    return kafka.sasl_password.get_secret_value()


def _tls_context(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_ca_file)
        if kafka.ssl_certificate_file is not None:
            secret = kafka.ssl_key_password
            # An empty one fails where the key is encrypted; with none OpenSSL asks the terminal.
            password = secret.get_secret_value() if secret is not None else ""
            context.load_cert_chain(kafka.ssl_certificate_file, kafka.ssl_key_file, password)
    except OSError as error:  # of which SSLError is one
        files = (kafka.ssl_ca_file, kafka.ssl_certificate_file, kafka.ssl_key_file)
        named = ", ".join(str(file) for file in files if file is not None)
        raise ConfigError(
            f"[kafka] {named}: cannot be used ({error.strerror or error}); each must be a readable "
            "PEM file, and an encrypted key needs CLICKLOOP_KAFKA__SSL_KEY_PASSWORD"
        ) from error
    if not kafka.ssl_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
