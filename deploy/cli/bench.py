"""The commands that measure."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.bench import figures, join, learn, replay
from deploy.cli.common import Json, errors, print_json
from deploy.console import out

bench_app = typer.Typer(help="Measure this machine; prints ratios too.", no_args_is_help=True)


@bench_app.command("learn")
def bench_learn_command(
    examples: Annotated[
        int, typer.Option(min=100_000, help="How many; fewer take less time and memory.")
    ] = 2_000_000,
    roofline: Annotated[
        bool, typer.Option("--roofline", help="Measure the bare memory traffic too.")
    ] = False,
    uniform: Annotated[
        bool, typer.Option("--uniform", help="All values of a field are alike, as no log has it.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            envvar="CLICKLOOP_TEST_DATA",
            help="A folder with the trivago logs, to learn from too.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """The learner alone on a seeded workload, and beside Vowpal Wabbit and River if installed."""
    with errors():
        document = learn.run(examples, roofline=roofline, uniform=uniform, data=data)
    _show(document, as_json)


@bench_app.command("join")
def bench_join_command(
    open_: Annotated[
        int, typer.Option("--open", min=50_000, help="How many impressions are open at a time.")
    ] = 1_000_000,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Rounds of so many impressions; medians count.")
    ] = 5,
    events: Annotated[
        int, typer.Option("--events", min=0, help="How many are joined from NDJSON; 0: none.")
    ] = 5_000_000,
    flink: Annotated[
        Path | None,
        typer.Option(
            "--flink",
            envvar="CLICKLOOP_FLINK",
            help="A virtual environment with apache-flink, to be compared with.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """The joiner alone on seeded traffic: speed, memory, spilling; beside Flink SQL if given."""
    with errors():
        document = join.run(open_, rounds, events, flink)
    _show(document, as_json)


@bench_app.command("replay")
def bench_replay_command(
    config: Annotated[
        Path | None, typer.Option("--config", help="The settings, TOML. Default: the logs' own.")
    ] = None,
    repeat: Annotated[
        int, typer.Option(min=1, help="How often the log is repeated, times and ids shifted.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """The whole loop on the trivago logs, repeated: from Parquet, NDJSON, and with bad rows."""
    with errors():
        document = replay.run(config, repeat)
    _show(document, as_json)


@bench_app.command("ingest")
def bench_ingest_command(
    broker: Annotated[
        str | None,
        typer.Option(
            "--broker",
            envvar="CLICKLOOP_TEST_KAFKA",
            help="A running Kafka, as `make kafka` prints.",
        ),
    ] = None,
    records: Annotated[
        int, typer.Option("--records", min=50_000, help="How many events are read in chunks.")
    ] = 600_000,
    plain_records: Annotated[
        int, typer.Option("--plain-records", min=1000, help="How many the plain agent reads.")
    ] = 30_000,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Rounds of both, whose medians count.")
    ] = 3,
    as_json: Json = False,
) -> None:
    """Records from Kafka through the transport, beside a plain Faust agent on the same topic."""
    from deploy.bench import ingest  # here, as Kafka's clients take half a second to load

    with errors():
        document = ingest.run(broker, records, plain_records, rounds)
    _show(document, as_json)


def _show(document: dict[str, Any], as_json: bool) -> None:
    """Print a benchmark's document as JSON, or its figures as a table with the notes below."""
    if as_json:
        print_json(document)
        return
    out.print(figures.table(document))
    for note in document.get("notes", ()):
        out.print(note, highlight=False)
