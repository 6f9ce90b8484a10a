"""Whatever is wrong with the input: the message is exact, and nothing else is lost."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.replay import replay
from tests.system.bad_inputs import KINDS, LINES, Kind, Site, Unavailable, check, unspoiled


@pytest.fixture
def site() -> Iterator[Path]:
    """A folder that others may enter: pytest closes its own to them whenever it starts."""
    with tempfile.TemporaryDirectory(prefix="clickloop-bad-input-") as name:
        yield Path(name) / "site"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.on}: {kind.name}")
def test_outcome_is_exact_and_nothing_else_is_lost(
    kind: Kind, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind in LINES:
        # A bad line has no part in the report, and drawing that takes most of the time.
        monkeypatch.setattr(replay, "write_report", lambda _: None)
    try:
        check(kind, Site(site))
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_the_good_logs_alone_give_no_letter(tmp_path: Path) -> None:
    """Else the kinds would prove nothing."""
    check(Kind("nothing", "nothing", unspoiled), Site(tmp_path / "site"))


def test_kinds_are_many_and_named_once() -> None:
    names = [(kind.on, kind.name) for kind in KINDS]
    assert len(names) == len(set(names))
    assert len(names) >= 40
