from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from robolearn.core.config import from_dict, load_yaml, parse, save_yaml, settings, to_dict
from robolearn.core.errors import ConfigError, RobolearnError


@dataclass(frozen=True)
class Optimizer:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass
class Job:
    dataset: Path
    steps: int = 10
    policy: Literal["bc", "beso"] = "bc"
    resume: bool = False
    cameras: tuple[str, ...] = ()
    seed: int | None = None
    optimizer: Optimizer = field(default_factory=Optimizer)

    def __post_init__(self):
        if self.steps < 1:
            raise ConfigError(f"--steps must be at least 1, found {self.steps}.")


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def message_of(*arguments: str) -> str:
    with pytest.raises(RobolearnError) as error:
        parse(Job, arguments, prog="robolearn job")
    message = str(error.value)
    assert "\n" not in message
    return message


def test_defaults_then_yaml_then_command_line(tmp_path):
    config = write(tmp_path / "job.yaml", "dataset: a.zarr\nsteps: 20\noptimizer: {lr: 0.5}\n")
    job = parse(Job, ["--config", config, "--steps", "30"], prog="robolearn job")
    assert job == Job(Path("a.zarr"), steps=30, optimizer=Optimizer(lr=0.5))


def test_what_is_required_may_come_from_either_side(tmp_path):
    config = write(tmp_path / "job.yaml", "steps: 20\n")
    job = parse(Job, [f"--config={config}", "--dataset", "b.zarr"], prog="robolearn job")
    assert job == Job(Path("b.zarr"), steps=20)
    assert message_of("--config", config) == "Missing: --dataset. See: robolearn job --help"


def test_a_value_that_the_command_line_replaces_is_not_validated(tmp_path):
    config = write(tmp_path / "job.yaml", "dataset: a.zarr\nsteps: 0\n")
    assert parse(Job, ["--config", config, "--steps", "3"], prog="robolearn job").steps == 3
    assert message_of("--config", config) == "--steps must be at least 1, found 0."


def test_nested_and_repeated_options_on_the_command_line():
    job = parse(
        Job, ["--dataset", "a", "--optimizer.lr", "1e-4", "--cameras", "front", "wrist", "--resume"], "robolearn"
    )
    assert job == Job(Path("a"), resume=True, cameras=("front", "wrist"), optimizer=Optimizer(lr=1e-4))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--stpes", "3"], "Unknown option --stpes. Did you mean --steps?"),
        (["--steps", "many"], "Error parsing --steps: 'many' is not a whole number"),
        (["--policy", "besso"], "Unknown value 'besso' of --policy. Did you mean 'beso'? Known: bc, beso."),
        (["--steps"], "Missing value for argument '--steps'"),
        (["--config"], "--config needs a yaml file after it."),
        (["--config", "/no/such/file.yaml"], "Configuration file /no/such/file.yaml does not exist."),
    ],
)
def test_a_bad_command_line_is_explained_in_one_line(arguments, expected):
    assert expected in message_of("--dataset", "a", *arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stpes: 3", "Unknown option 'stpes'. Did you mean 'steps'?"),
        ("steps: five", ".steps: found 'five', expected a whole number."),
        ("steps: 1.5", ".steps: found 1.5, expected a whole number."),
        ("steps: true", ".steps: found True, expected int."),
        ("dataset: 3", ".dataset: found 3, expected a path."),
        ("policy: besso", ".policy: Unknown value 'besso'. Did you mean 'beso'? Known: bc, beso."),
        ("optimizer: {lrr: 1}", ".optimizer: Unknown option 'lrr'. Did you mean 'lr'?"),
        ("optimizer: {lr: fast}", ".optimizer.lr: found 'fast', expected float."),
        ("optimizer: {betas: [0.9]}", ".optimizer.betas: found 1 values, expected 2."),
        ("optimizer: 3", ".optimizer: found 3, expected a mapping of option names to values."),
        ("cameras: front", ".cameras: found 'front', expected a list."),
        ("- a", "holds list, expected a mapping of options."),
        ("steps: [", "is not valid yaml: while parsing a flow node"),
    ],
)
def test_a_bad_yaml_file_is_explained_with_its_name(tmp_path, text, expected):
    config = write(tmp_path / "job.yaml", text)
    message = message_of("--config", config)
    assert config in message
    assert expected in message


def test_a_wrong_choice_with_a_dot_is_quoted_whole():
    @dataclass
    class Export:
        format: Literal["lerobot_v2.1", "lerobot_v3.0"] = "lerobot_v3.0"

    with pytest.raises(ConfigError) as error:
        parse(Export, ["--format", "lerobot_v2.2"], prog="robolearn export")
    assert str(error.value) == (
        "Unknown value 'lerobot_v2.2' of --format. Did you mean 'lerobot_v2.1'? Known: lerobot_v2.1, lerobot_v3.0. "
        "See: robolearn export --help"
    )


def test_a_binary_file_is_not_yaml(tmp_path):
    (tmp_path / "job.yaml").write_bytes(b"\xff\xfe\x00")
    assert "is not valid yaml" in message_of("--config", str(tmp_path / "job.yaml"))


def test_yaml_floats_without_a_point_are_numbers(tmp_path):
    assert from_dict(Optimizer, load_yaml(Path(write(tmp_path / "a.yaml", "lr: 1e-4")))).lr == 1e-4
    assert from_dict(Optimizer, {"lr": 1}).lr == 1.0


def test_a_configuration_survives_being_written_and_read(tmp_path):
    job = Job(Path("a.zarr"), cameras=("front",), seed=3, policy="beso", optimizer=Optimizer(betas=(0.5, 0.6)))
    save_yaml(job, tmp_path / "config.yaml")
    assert from_dict(Job, load_yaml(tmp_path / "config.yaml")) == job
    assert parse(Job, ["--config", str(tmp_path / "config.yaml")], prog="robolearn job") == job


def test_an_empty_file_changes_nothing(tmp_path):
    assert load_yaml(Path(write(tmp_path / "empty.yaml", ""))) == {}


def test_to_dict_gives_plain_values():
    assert to_dict(Job(Path("a"))) == {
        "dataset": "a",
        "steps": 10,
        "policy": "bc",
        "resume": False,
        "cameras": [],
        "seed": None,
        "optimizer": {"lr": 1e-3, "betas": [0.9, 0.99]},
    }


def test_help_is_printed_as_usual(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(Job, ["--help"], prog="robolearn job")
    assert stop.value.code == 0
    assert "--optimizer.lr" in capsys.readouterr().out


def test_settings_are_read_as_yaml_reads_values():
    words = ("sampling-steps=10", "sampler=ddim", "guidance=1.5", "clip=true", "window=[0, 1]", "note=a=b")
    assert settings(words, "--set") == {
        "sampling_steps": 10, "sampler": "ddim", "guidance": 1.5, "clip": True, "window": [0, 1], "note": "a=b",
    }  # fmt: skip


@pytest.mark.parametrize("words", [["steps"], ["=3"], ["steps=[1"], ["max-steps=1", "max_steps=2"]])
def test_words_that_are_no_setting_are_refused(words):
    with pytest.raises(ConfigError, match="--set"):
        settings(words, "--set")


def test_a_mapping_without_what_has_no_default_names_it():
    with pytest.raises(ConfigError, match=r"^c\.yaml: 'dataset' missing, which Job has no default for\.$"):
        from_dict(Job, {"steps": 3}, "c.yaml")
    assert from_dict(Job, {"dataset": "a.zarr"}) == Job(Path("a.zarr"))


@dataclass(frozen=True)
class Solver:
    name: str = "a"
    options: dict[str, bool | int | float | str] = field(default_factory=dict)


def test_a_mapping_is_given_as_names_with_values_and_read_back_from_yaml(tmp_path):
    words = ["--options", "order=3", "karras=true", "least=-5.1", "rate=1e-3", "kind=sde++"]
    solver = parse(Solver, words, prog="robolearn solve")
    assert solver.options == {"order": 3, "karras": True, "least": -5.1, "rate": 1e-3, "kind": "sde++"}
    save_yaml(solver, tmp_path / "c.yaml")
    under = ["--config", str(tmp_path / "c.yaml")]
    assert parse(Solver, under, prog="robolearn solve") == solver
    assert parse(Solver, [*under, "--options", "order=2"], prog="robolearn solve").options == {"order": 2}
    assert parse(Solver, [*under, "--options"], prog="robolearn solve").options == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--options", "order"], "--options: the option takes NAME=VALUE, found 'order'"),
        (["--options", "order=[1, 2]"], r"order: found \[1, 2\], expected bool, int, float or str"),
        (["--options", "a=1", "--options", "b=2"], "--options is given twice"),
    ],
)
def test_words_that_are_no_entry_of_a_mapping_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        parse(Solver, words, prog="robolearn solve")


def test_what_is_no_mapping_is_refused_in_a_file():
    with pytest.raises(
        ConfigError, match=r"^c\.yaml\.options: found \['order'\], expected a mapping of names to values"
    ):
        from_dict(Solver, {"options": ["order"]}, "c.yaml")
