"""What people type: numbers in any notation, options that do not exist, options given twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.arguments import options_of, whole_number
from robolearn.core.config import from_dict, parse
from robolearn.core.errors import ConfigError


@dataclass(frozen=True)
class Network:
    layers: int = 4
    bias: bool = True


@dataclass(frozen=True)
class Job:
    path: tyro.conf.Positional[str] = ""
    steps: int = 10
    seed: int | None = None
    rate: float = 1.0
    sizes: tuple[int, ...] = ()
    dataset: Path | tuple[Path, ...] = Path("d")
    camera: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    source_format: Annotated[str, tyro.conf.arg(name="from", aliases=["--format"])] = "auto"
    quiet: bool = False
    policy: Network = field(default_factory=Network)


def job(*arguments: str) -> Job:
    return parse(Job, arguments, prog="robolearn job")


def refusal(*arguments: str) -> str:
    with pytest.raises(ConfigError) as error:
        job(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@given(st.integers(0, 9), st.integers(0, 17))
def test_a_power_of_ten_is_the_same_number_in_every_notation(digit, power):
    texts = (f"{digit}e{power}", f"{digit}.0E+{power}", str(digit * 10**power), f"{digit * 10**power}.0")
    assert {whole_number(text) for text in texts} == {digit * 10**power}


@given(st.integers(-(10**17), 10**17))
def test_what_python_prints_is_read_back_exactly(number):
    assert whole_number(str(number)) == number


@pytest.mark.parametrize("text", ["1.5", "1e-1", "1e4.5", "nan", "inf", "", "ten", "1e999999999", "0x10", "1,000"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(ValueError, match="is not a whole number"):
        whole_number(text)


def test_every_integer_option_takes_1e4_and_1_5_is_refused_by_its_name():
    assert job("--steps", "1e4", "--seed", "2.0", "--sizes", "1e1", "3", "--policy.layers", "1e0") == Job(
        steps=10_000, seed=2, sizes=(10, 3), policy=Network(layers=1)
    )
    for option in ("--steps", "--seed", "--policy.layers"):
        told = refusal(option, "1.5")
        assert told == f"Error parsing {option}: '1.5' is not a whole number. See: robolearn job --help"
    assert refusal("--rate", "fast") == "Error parsing --rate: 'fast' is not a number. See: robolearn job --help"


def test_a_file_of_options_takes_the_same_numbers():
    assert from_dict(Job, {"steps": "1e4", "seed": 3.0}) == Job(steps=10_000, seed=3)


def test_options_are_found_under_every_name_that_tyro_gives_them():
    flags = {flag for option in options_of(Job) for flag in option.flags}
    assert flags == {
        "--steps", "--seed", "--rate", "--sizes", "--dataset", "--camera", "--from", "--format", "--quiet",
        "--no-quiet",
        "--policy.layers", "--policy.bias", "--policy.no-bias",
    }  # fmt: skip
    assert job("x", "--format", "v2", "--policy.no-bias", "--no-quiet", "--camera", "a", "--camera", "b") == Job(
        "x", camera=("a", "b"), source_format="v2", policy=Network(bias=False)
    )


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("--stpes", "--steps"), ("--step=3", "--steps"), ("--polcy.layers", "--policy.layers"),
        ("--layers", "--policy.layers"), ("--policy.layer", "--policy.layers"), ("--quite", "--quiet"),
        ("--confg", "--config"), ("--helpp", "--help"), ("--formt", "--format"),
    ],
)  # fmt: skip
def test_an_unknown_option_gets_the_closest_one(wrong, meant):
    assert refusal(wrong, "3") == (
        f"Unknown option {wrong.partition('=')[0]}. Did you mean {meant}? See: robolearn job --help"
    )


def test_an_option_like_no_other_gets_the_help_only():
    assert refusal("--zzzz", "3") == "Unknown option --zzzz. See: robolearn job --help"


def test_values_that_begin_with_a_dash_are_not_options():
    assert job("--rate", "-1.5", "--from=-x", "--seed", "-2") == Job(rate=-1.5, source_format="-x", seed=-2)


def test_underscores_and_hyphens_are_the_same():
    assert refusal("--policy.lay_ers", "1").startswith("Unknown option --policy.lay-ers. Did you mean --policy.layers?")


def test_what_a_second_mention_would_lose_is_refused():
    assert refusal("--sizes", "1", "--sizes", "2") == (
        "--sizes is given twice; write all its values after one --sizes, with spaces between."
    )
    assert "--dataset is given twice" in refusal("--dataset", "a", "--dataset", "b")
    assert job("--dataset", "a", "b").dataset == (Path("a"), Path("b"))
    assert job("--steps", "1", "--steps", "2").steps == 2  # as a script's last word


def test_a_narrow_terminal_breaks_no_words(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    assert "'a-rather-long-value-that-does-not-fit-at-all' is not a whole number" in refusal(
        "--steps", "a-rather-long-value-that-does-not-fit-at-all"
    )


def test_a_required_option_is_named_whole(monkeypatch):
    @dataclass
    class Needs:
        dataset_with_a_long_name: Path

    monkeypatch.setenv("COLUMNS", "30")
    with pytest.raises(ConfigError, match=r"Missing: --dataset-with-a-long-name\. See: robolearn job --help"):
        parse(Needs, [], prog="robolearn job")
