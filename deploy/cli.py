"""The command line. Errors are one message on stderr and an exit code; --debug traces them."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from deploy import (
    bench_join,
    bench_learn,
    bench_replay,
    console,
    demo,
    produce,
    scorer,
    settings,
    simulate,
    simulated,
    snapshots,
)
from deploy.console import err, out, progress, stop_on_signal, time_of
from deploy.produce import Format
from deploy.replay import Stopped, replay
from deploy.report import write_report
from deploy.store import Store
from streams.deadletter import Source
from streams.errors import ClickloopError, DataError, explained
from streams.kafka import topics as kafka_topics
from streams.simulator.logs import LogFormat

INTERRUPTED = 130

app = typer.Typer(
    help="An online-learning loop for click-through-rate prediction.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
snapshots_app = typer.Typer(help="The serving versions in a store.", no_args_is_help=True)
bench_app = typer.Typer(help="Measure this machine; prints ratios too.", no_args_is_help=True)
topics_app = typer.Typer(help="The topics in Kafka.", no_args_is_help=True)
worker_app = typer.Typer(
    help="Workers that run on Kafka until they are stopped.", no_args_is_help=True
)
app.add_typer(snapshots_app, name="snapshots")
app.add_typer(worker_app, name="worker")
app.add_typer(topics_app, name="topics")
app.add_typer(bench_app, name="bench")

Config = Annotated[Path, typer.Option("--config", help="The settings, TOML.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
StoreOption = Annotated[Path, typer.Option("--store", help="The `store` folder of a run.")]
Version = Annotated[int | None, typer.Option("--version", help="Default: the newest.")]


class _Debug:
    on = False


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    _Debug.on = debug


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what an operator must handle into a message and an exit code."""
    try:
        yield
    except Stopped:
        err.print("clickloop: stopped, and saved: go on with --resume")
        raise typer.Exit(INTERRUPTED) from None
    except KeyboardInterrupt:
        err.print("clickloop: interrupted; what had been written stays usable")
        raise typer.Exit(INTERRUPTED) from None
    except ClickloopError as error:
        if _Debug.on:
            raise
        err.print(f"clickloop: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        if _Debug.on:
            raise
        err.print(f"clickloop: {explained(error)}", markup=False, soft_wrap=True)
        raise typer.Exit(ClickloopError.exit_code) from None


def _print_json(values: Any) -> None:
    sys.stdout.write(json.dumps(values, indent=1) + "\n")


@app.command("demo")
def demo_command(
    out_folder: Annotated[
        Path, typer.Option("--out", help="Where the run goes; made anew each time.")
    ] = Path("runs/demo"),
    data: Annotated[
        Path, typer.Option("--data", help="The folder with the Open Bandit wheel.")
    ] = Path(".cache/demo"),
    impressions: Annotated[
        int, typer.Option("--impressions", min=1, help="How many are simulated.")
    ] = 1_000_000,
) -> None:
    """The main job, no broker needed, on real logs and on simulated ones with a known truth."""
    with _errors():
        demo.run(data, out_folder, impressions)


@app.command("replay")
def replay_command(
    config: Annotated[Path, typer.Option("--config", help="The settings, TOML.")],
    impressions: Annotated[str, typer.Option("--impressions", help="A file, folder or glob.")],
    clicks: Annotated[str, typer.Option("--clicks", help="A file, folder or glob.")],
    out_folder: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Join, learn from, publish and evaluate two logs."""
    with _errors():
        loaded = settings.load(config)
        with progress("replay") as bar, stop_on_signal() as stop:
            document = replay(
                loaded, impressions, clicks, out_folder, resume=resume, progress=bar, stop=stop
            )
        if as_json:
            _print_json(document)
            return
        report = ("report", str(out_folder / "report.html"))
        console.show(("", [*console.run_summary(document), report]))


@app.command("simulate")
def simulate_command(
    out_folder: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    impressions: Annotated[
        int | None, typer.Option("--impressions", help="How many. Default: 1000000.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of all chance. Default: 1.")] = None,
    log_format: Annotated[LogFormat, typer.Option("--format", help="Of the two logs.")] = "parquet",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting of the simulator. Repeat it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write two logs of traffic whose true click probabilities are known, and these too."""
    with _errors():
        named = {"impressions": impressions, "seed": seed}
        told = simulate.told(
            [f"{key}={value}" for key, value in named.items() if value is not None]
            + (assignments or [])
        )
        with progress("simulate") as bar:
            made = simulate.run(told, out_folder, log_format, bar)
        if as_json:
            _print_json(simulate.to_json(made))
            return
        console.show(("", simulate.summary(made)))


@app.command("produce")
def produce_command(
    source: Annotated[Source, typer.Argument(help="Which log it is.")],
    path: Annotated[str, typer.Argument(help="A file, folder or glob.")],
    config: Config,
    form: Annotated[Format, typer.Option("--format", help="Of the messages.")] = "json",
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.001, help="Rows a second. Default: flat out.")
    ] = None,
    letters: Annotated[
        Path | None,
        typer.Option("--dead-letters", help="A new file for rows that cannot be read."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Publish a log to its topic in Kafka."""
    with _errors():
        loaded = settings.load(config)
        with progress("produce") as bar, stop_on_signal() as stop:
            done = produce.produce(
                loaded,
                source,
                path,
                form=form,
                rate=rate,
                letters=letters,
                progress=bar,
                stop=stop,
            )
            stopped = stop()
        if as_json:
            _print_json(done.to_json())
        else:
            speed = done.rows / done.seconds if done.seconds else 0.0
            out.print(
                f"{done.rows:,} rows published to {done.topic} in {done.seconds:.1f} s "
                f"({speed:,.0f} a second)",
                soft_wrap=True,
            )
        if done.rejected:
            reasons = ", ".join(f"{count} {reason}" for reason, count in done.rejected.items())
            raise DataError(f"not published: {reasons}: {done.letters}")
        if stopped:
            raise KeyboardInterrupt


@topics_app.command("create")
def create_command(config: Config) -> None:
    """Make the topics that are missing, then check all of them."""
    with _errors():
        loaded = settings.load(config)
        with kafka_topics.admin(loaded.kafka) as admin:
            for name in admin.create(loaded.topics, _kept(loaded)):
                out.print(f"{name}: made, {loaded.topics.partitions} partitions", soft_wrap=True)
            _check_topics(loaded, admin)


@topics_app.command("check")
def check_command(config: Config) -> None:
    """Everything that is wrong with the topics, each with its fix."""
    with _errors():
        loaded = settings.load(config)
        with kafka_topics.admin(loaded.kafka) as admin:
            _check_topics(loaded, admin)


def _kept(loaded: settings.Settings) -> int:
    return loaded.join.known_span + loaded.join.lateness


def _check_topics(loaded: settings.Settings, admin: kafka_topics.Admin) -> None:
    found, servers = admin.describe(loaded.topics), loaded.kafka.bootstrap_servers
    wrong = kafka_topics.problems(found, loaded.topics, _kept(loaded), servers)
    if wrong:
        count = "1 problem" if len(wrong) == 1 else f"{len(wrong)} problems"
        raise ClickloopError("\n".join([f"{count} with the topics:", *(f"  {w}" for w in wrong)]))
    out.print(f"{len(loaded.topics.names)} topics, nothing wrong", soft_wrap=True)


@app.command("score")
def score_command(
    store: StoreOption,
    source: Annotated[str, typer.Option("--input", help="Impressions: a file, folder or glob.")],
    output: Annotated[
        Path, typer.Option("--output", help="A new file: .ndjson, .csv or .parquet.")
    ],
    as_logged: Annotated[
        bool, typer.Option("--as-logged", help="Use logged positions, not `serve_as`.")
    ] = False,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """P(click) of each impression, by a serving version."""
    with _errors():
        with progress("score") as bar:
            scored = scorer.score_file(
                store, source, output, version=version, as_logged=as_logged, progress=bar
            )
        if as_json:
            _print_json(scored.to_json())
            return
        mean = "-" if scored.mean_p is None else f"{scored.mean_p:.6f}"
        out.print(
            f"{scored.rows:,} scored with version {scored.version}, mean p {mean}: {output}",
            soft_wrap=True,
        )
        if scored.rejected:
            reasons = ", ".join(f"{count} {reason}" for reason, count in scored.rejected.items())
            out.print(f"not scored: {reasons}: {scored.letters}", soft_wrap=True)


@snapshots_app.command("list")
def list_command(store: StoreOption, as_json: Json = False) -> None:
    """All serving versions, oldest first."""
    with _errors(), Store(store, read_only=True) as opened:
        rows = [manifest.summary() for manifest in snapshots.versions(opened)]
    if as_json:
        _print_json(rows)
        return
    table = Table("version", "event time", "examples", "weights", "bytes", box=None)
    for row in rows:
        table.add_row(
            str(row["version"]),
            time_of(row["ts"]),
            f"{row['examples']:,}",
            f"{row['nonzero']:,}",
            f"{row['bytes']:,}",
        )
    out.print(table)


@snapshots_app.command("show")
def show_command(store: StoreOption, version: Version = None) -> None:
    """The manifest of a serving version, as JSON."""
    with _errors(), Store(store, read_only=True) as opened:
        _print_json(snapshots.chosen(opened, version).to_json())


@snapshots_app.command("verify")
def verify_command(store: StoreOption, version: Version = None) -> None:
    """Check the checksums of a serving version, or of all of them."""
    with _errors(), Store(store, read_only=True) as opened:
        chosen = [snapshots.chosen(opened, version)] if version else snapshots.versions(opened)
        for manifest in chosen:
            snapshots.weights_of(opened, manifest)
            snapshots.gone_since_parent(opened, manifest)
            out.print(f"version {manifest.version}: {manifest.weights:,} weights, intact")


@worker_app.command("join")
def worker_join_command(config: Config) -> None:
    """Join impressions and clicks of Kafka, and publish labelled examples, each once."""
    from deploy import worker_join  # here, as Kafka's clients take half a second to load

    with _errors():
        worker_join.join(settings.load(config))


@worker_app.command("learn")
def worker_learn_command(
    config: Config,
    store: Annotated[Path, typer.Option("--store", help="Its own folder: made, or gone on with.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A new store begins with the weights of this one."),
    ] = None,
) -> None:
    """Learn from the labelled topic, each example once, and publish serving versions."""
    from deploy import worker_learn  # here, as Kafka's clients take half a second to load

    with _errors():
        loaded = settings.load(config)
        worker_learn.learn(loaded, worker_learn.where(loaded), store, source)


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Option("--run", help="The folder of a replay.")],
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="The truth.parquet beside simulated logs: compare with it."),
    ] = None,
) -> None:
    """Write the report of a run again; of simulated logs, with the truth beside it."""
    with _errors():
        if truth is None:
            out.print(str(write_report(run)), soft_wrap=True)
            return
        compared = simulated.add_truth(run, truth)
        report = ("report", str(run / "report.html"))
        console.show(("", [*console.truth_summary(compared), report]))


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
    with _errors():
        document = bench_learn.run(examples, roofline=roofline, uniform=uniform, data=data)
    if as_json:
        _print_json(document)
        return
    out.print(console.figures(document))


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
    with _errors():
        document = bench_join.run(open_, rounds, events, flink)
    if as_json:
        _print_json(document)
        return
    out.print(console.figures(document))
    out.print(*document["notes"], sep="\n", highlight=False)


@bench_app.command("replay")
def bench_replay_command(
    config: Annotated[Path, typer.Option("--config", help="The settings, TOML.")] = Path(
        "docs/examples/trivago.toml"
    ),
    repeat: Annotated[
        int, typer.Option(min=1, help="How often the log is repeated, times and ids shifted.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """The whole loop on the trivago logs, repeated: from Parquet, NDJSON, and with bad rows."""
    with _errors():
        document = bench_replay.run(config, repeat)
    if as_json:
        _print_json(document)
        return
    out.print(console.figures(document))


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
    from deploy import bench_ingest  # here, as Kafka's clients take half a second to load

    with _errors():
        document = bench_ingest.run(broker, records, plain_records, rounds)
    if as_json:
        _print_json(document)
        return
    out.print(console.figures(document))


def main() -> None:
    """Run the command that the arguments name."""
    app()
