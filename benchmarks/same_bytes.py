"""Whether another version comes to the same bytes: `python -m benchmarks.same_bytes DIR`.

DIR is a checkout of the other version (`git worktree add DIR COMMIT`). Both versions replay the
same logs by their command line: small logs, simulated ones, parts of the real logs and all of
them, with every layout, corrections, subsampling, admission, expiry and eviction on. What must be
the same: examples, dead letters, late clicks, metrics but for the time taken, the whole training
state, and every byte of every serving version. Prints a line a log, and ends with 1 if one differs.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.replay.replay import EXAMPLES
from tests import ROOT
from tests.support import needs, trivago
from tests.support.outcomes import outcome
from tests.system.fault_cases import Case, cases, trivago_cases


def replayed(checkout: Path, case: Case, out: Path) -> dict[str, object]:
    """The outcome of the case by the version in `checkout`, its files' bytes among it."""
    shutil.rmtree(out, ignore_errors=True)
    logs = ["--impressions", str(case.impressions), "--clicks", str(case.clicks)]
    words = ["replay", "--config", str(case.config), *logs, "--out", str(out)]
    subprocess.run(
        [sys.executable, "-m", "deploy", *words],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        check=True,
        capture_output=True,
    )
    files = {
        path.name: path.read_bytes()
        for path in sorted([*out.glob("*.ndjson"), *(out / EXAMPLES).parent.glob("*.parquet")])
    }
    return outcome(out) | {"files": files}


def every_case(folder: Path) -> list[Case]:
    """The cases of the fault tests, and all of the real logs where they are there."""
    found = cases(folder)
    small = found[0]
    text = small.config.read_text().replace("[learner]\n", '[learner]\nlayout = "float64"\n')
    config = small.config.with_name("float64.toml")
    config.write_text(text)
    found.append(Case("float64", config, small.impressions, small.clicks))
    if trivago.THERE:
        found += trivago_cases(folder)
        crosses = trivago.example("trivago-crosses.toml")
        found.append(Case("trivago", crosses, trivago.IMPRESSIONS, trivago.CLICKS))
    else:
        print(needs.REAL_LOGS)
    return found


def main() -> int:
    """Replay each case by both versions, and compare."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.same_bytes", description="Compare two versions' bytes."
    )
    parser.add_argument("dir", type=Path, help="a checkout of the other version")
    other = parser.parse_args().dir.resolve()
    failed = False
    with tempfile.TemporaryDirectory(prefix="clickloop-same-bytes-") as name:
        folder = Path(name)
        for case in every_case(folder):
            out = folder / "run"  # the same for both, for a store knows its outputs
            here, there = (replayed(checkout, case, out) for checkout in (ROOT, other))
            different = sorted(key for key in here if here[key] != there[key])
            failed |= bool(different)
            versions = here["versions"]
            assert isinstance(versions, dict)
            size = sum(len(value or b"") for value in versions.values())
            result = f"differs in {', '.join(different)}" if different else "the same bytes"
            print(f"{case.name:20} {result} ({len(versions)} entries of versions, {size} bytes)")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
