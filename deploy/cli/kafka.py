"""The commands for Kafka: its topics, and the workers that run on it."""

from pathlib import Path
from typing import Annotated

import typer

from deploy import settings
from deploy.cli.common import Config, errors
from deploy.console import out

topics_app = typer.Typer(help="The topics in Kafka.", no_args_is_help=True)
worker_app = typer.Typer(
    help="Workers that run on Kafka until they are stopped.", no_args_is_help=True
)


@topics_app.command("create")
def create_command(config: Config) -> None:
    """Make the topics that are missing, then check all of them."""
    from deploy.cli import topics  # here, as Kafka's clients take half a second to load

    with errors():
        loaded = settings.load(config)
        made = f"made, {loaded.topics.partitions} partitions"
        topics.create(loaded, lambda name: out.print(f"{name}: {made}", soft_wrap=True))
        _say_right(loaded)


@topics_app.command("check")
def check_command(config: Config) -> None:
    """Everything that is wrong with the topics, each with its fix."""
    from deploy.cli import topics  # here, as Kafka's clients take half a second to load

    with errors():
        loaded = settings.load(config)
        topics.check(loaded)
        _say_right(loaded)


def _say_right(loaded: settings.Settings) -> None:
    out.print(f"{len(loaded.topics.names)} topics, nothing wrong", soft_wrap=True)


@worker_app.command("join")
def worker_join_command(config: Config) -> None:
    """Join impressions and clicks of Kafka, and publish labelled examples, each once."""
    from deploy.workers.join import command  # here, as Kafka's clients take half a second to load

    with errors():
        command.join(settings.load(config))


@worker_app.command("learn")
def worker_learn_command(
    config: Config,
    store: Annotated[Path, typer.Option("--store", help="Its own folder: made, or gone on with.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A new store begins with the weights of this one.")
    ] = None,
) -> None:
    """Learn from the labelled topic, each example once, and publish serving versions."""
    from deploy.workers.learn import command  # here, as Kafka's clients take half a second to load

    with errors():
        command.learn(settings.load(config), store, source)
