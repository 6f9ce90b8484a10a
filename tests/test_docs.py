"""The docs are complete, and what they tell to type works."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from deploy.cli.app import app
from deploy.settings import Settings
from ftrl.features.config import FeatureConfig, FieldConfig
from joiner.core.kernel_types import REASONS as JOIN_REASONS
from streams.deadletter import REASONS as EDGE_REASONS
from tests import ROOT
from tests.support.commands import clickloop

EXAMPLE = ROOT / "clickloop.example.toml"
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def leaves(group: Any, path: str) -> list[tuple[str, Any]]:
    """Every command of a group, by its full name."""
    found = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += leaves(command, f"{path} {name}")
        else:
            found.append((f"{path} {name}", command))
    return found


ALL = leaves(typer.main.get_command(app), "clickloop")


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_every_command_and_option_is_documented(name: str, command: Any) -> None:
    headings = COMMANDS.split("\n## ")
    section = next((part for part in headings if part.splitlines()[0] == name), None)
    assert section is not None, f"docs/commands.md has no heading '## {name}'"
    options = {o for p in command.params for o in p.opts if p.param_type_name == "option"}
    assert set(re.findall(r"`(--[a-z-]+)`", section)) == options
    if any(p.param_type_name == "argument" for p in command.params):
        assert f"`{name} " in section, f"{name} does not show its arguments"
    assert command.help, f"{name} has no help"


def test_no_heading_without_a_command() -> None:
    headings = {line[3:] for line in COMMANDS.splitlines() if line.startswith("## ")}
    assert headings == {name for name, _ in ALL}


def sections() -> list[tuple[str, type[BaseModel], Any]]:
    """Each section with defaults: its name, its class, and its default."""
    return [
        (name, type(field.default), field.default)
        for name, field in Settings.model_fields.items()
        if name != "features"
    ]


@pytest.mark.parametrize(("name", "kind", "default"), sections(), ids=lambda x: str(x)[:12])
def test_example_has_every_setting_at_its_default(
    name: str, kind: type[BaseModel], default: Any
) -> None:
    text = EXAMPLE.read_text()
    values = tomllib.loads(text)[name]
    section = text.split(f"\n[{name}]\n")[1].split("\n[")[0]
    assert kind.model_validate(values) == default
    for key, field in kind.model_fields.items():
        assert re.search(rf"^(# )?{key} = ", section, re.MULTILINE), f"[{name}] {key}"
        assert field.description, f"[{name}] {key} says nothing"
        assert len(field.description) > 40, f"[{name}] {key} says too little"


def test_example_has_every_feature_setting() -> None:
    text = EXAMPLE.read_text()
    for key, field in FieldConfig.model_fields.items():
        assert f"#   {key}: " in text, key
        assert field.description
    for key in FeatureConfig.model_fields:
        assert key in tomllib.loads(text)["features"]


@pytest.mark.parametrize("reason", sorted({*EDGE_REASONS, *JOIN_REASONS}))
def test_every_dead_letter_reason_is_documented(reason: str) -> None:
    assert f"| `{reason}` |" in OPERATIONS


def test_no_reason_is_documented_that_does_not_exist() -> None:
    section = OPERATIONS.split("## Dead letters")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == {
        *EDGE_REASONS,
        *JOIN_REASONS,
    }


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda p: p.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", page.read_text()):
        if target and "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def readme_commands() -> list[str]:
    """The clickloop commands the README tells to type."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [
        " ".join(line.split())
        for line in joined.splitlines()
        if line.strip().startswith("clickloop")
    ]


def test_readme_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, in their order, in a folder of their own, as the README says."""
    commands = readme_commands()
    assert len(commands) >= 4
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        done = clickloop(*command.split()[1:])
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_every_path_that_the_architecture_names_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for line in text.splitlines():
        folder = ROOT
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", line):
            if name == "__init__.py":
                continue
            # A bare name stands in the folder of the path before it.
            path = ROOT / name if "/" in name else folder / name
            assert path.exists(), f"docs/architecture.md: {name} in: {line}"
            folder = path if path.is_dir() else path.parent
