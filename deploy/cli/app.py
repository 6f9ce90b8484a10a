"""The command line. Errors are one message on stderr and an exit code; --debug traces them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from deploy import console, settings
from deploy.cli.bench import bench_app
from deploy.cli.common import Config, Debug, Json, StoreOption, Version, errors, print_json
from deploy.cli.kafka import topics_app, worker_app
from deploy.console import out, progress, stop_on_signal, time_of
from deploy.demo import demo
from deploy.replay.replay import replay
from deploy.report.report import write_report
from deploy.report.terminal import run_summary, truth_summary
from deploy.serving.score_file import score_file
from deploy.simulation import simulate, truth_comparison
from deploy.storage import versions
from deploy.storage.rocksdb import Store
from streams.deadletter import Source
from streams.errors import DataError
from streams.kafka import Format
from streams.simulator import LogFormat

app = typer.Typer(
    help="An online-learning loop for click-through-rate prediction.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
snapshots_app = typer.Typer(help="The serving versions in a store.", no_args_is_help=True)
app.add_typer(snapshots_app, name="snapshots")
app.add_typer(worker_app, name="worker")
app.add_typer(topics_app, name="topics")
app.add_typer(bench_app, name="bench")


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    Debug.on = debug


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
    with errors():
        demo.run(data, out_folder, impressions)


@app.command("replay")
def replay_command(
    config: Config,
    impressions: Annotated[str, typer.Option("--impressions", help="A file, folder or glob.")],
    clicks: Annotated[str, typer.Option("--clicks", help="A file, folder or glob.")],
    out_folder: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Join, learn from, publish and evaluate two logs."""
    with errors():
        loaded = settings.load(config)
        with progress("replay") as bar, stop_on_signal() as stop:
            document = replay(
                loaded, impressions, clicks, out_folder, resume=resume, progress=bar, stop=stop
            )
        if as_json:
            print_json(document)
            return
        report = ("report", str(out_folder / "report.html"))
        console.show(("", [*run_summary(document), report]))


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
    with errors():
        named = {"impressions": impressions, "seed": seed}
        chosen = simulate.parse_assignments(
            [f"{key}={value}" for key, value in named.items() if value is not None]
            + (assignments or [])
        )
        with progress("simulate") as bar:
            made = simulate.run(chosen, out_folder, log_format, bar)
        if as_json:
            print_json(simulate.to_json(made))
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
        Path | None, typer.Option("--dead-letters", help="A new file for rows that cannot be read.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Publish a log to its topic in Kafka."""
    from deploy.cli import produce  # here, as Kafka's clients take half a second to load

    with errors():
        loaded = settings.load(config)
        with progress("produce") as bar, stop_on_signal() as stop:
            done = produce.produce(
                loaded, source, path, form=form, rate=rate, letters=letters, progress=bar, stop=stop
            )
            stopped = stop()
        if as_json:
            print_json(done.to_json())
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
    with errors():
        with progress("score") as bar:
            scored = score_file(
                store, source, output, version=version, as_logged=as_logged, progress=bar
            )
        if as_json:
            print_json(scored.to_json())
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
    with errors(), Store(store, read_only=True) as opened:
        rows = [manifest.summary() for manifest in versions.manifests(opened)]
    if as_json:
        print_json(rows)
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
    with errors(), Store(store, read_only=True) as opened:
        print_json(versions.find_manifest(opened, version).to_json())


@snapshots_app.command("verify")
def verify_command(store: StoreOption, version: Version = None) -> None:
    """Check the checksums of a serving version, or of all of them."""
    with errors(), Store(store, read_only=True) as opened:
        chosen = (
            [versions.find_manifest(opened, version)] if version else versions.manifests(opened)
        )
        for manifest in chosen:
            versions.weights_of(opened, manifest)
            versions.tombstones(opened, manifest)
            out.print(f"version {manifest.version}: {manifest.weights:,} weights, intact")


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Option("--run", help="The folder of a replay.")],
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="The truth.parquet beside simulated logs: compare with it."),
    ] = None,
) -> None:
    """Write the report of a run again; of simulated logs, with the truth beside it."""
    with errors():
        if truth is None:
            out.print(str(write_report(run)), soft_wrap=True)
            return
        compared = truth_comparison.add_truth(run, truth)
        report = ("report", str(run / "report.html"))
        console.show(("", [*truth_summary(compared), report]))


def main() -> None:
    """Run the command that the arguments name."""
    app()
