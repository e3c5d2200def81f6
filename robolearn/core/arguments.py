"""What command lines have in common beyond tyro: names of options that are checked first, and numbers as people type
them."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from robolearn.core.errors import ConfigError, closest

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry

_UNIONS = (typing.Union, types.UnionType)
_DIGITS = 18  # of a whole number: 1e999999999 would fill the memory
_FLAG = re.compile(r"--?[A-Za-z]\S*")  # and not -1, nor a text that begins with a dash


def whole_number(text: str) -> int:
    """`10000`, `1e4` and `10000.0` alike. Raises ValueError for text that is no whole number."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or number.adjusted() > _DIGITS or number != number.to_integral_value():
        raise ValueError(f"{text!r} is not a whole number")
    return int(number)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def number_rules() -> ConstructorRegistry:
    """For tyro: every option that is an `int` takes what `whole_number` does; others are refused in plain words."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    rules = ConstructorRegistry()

    @rules.primitive_rule
    def number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        read = {int: whole_number, float: _number}.get(info.type)
        if read is None:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar=info.type.__name__.upper(),
            instance_from_str=lambda words: read(words[0]),
            is_instance=lambda value: isinstance(value, int | info.type),
            str_from_instance=lambda value: [str(value)],
        )

    return rules


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a dataclass on the command line.

    Attributes:
        flags: `--num-episodes`, and what else stands for it; none for one that is known by its place.
        takes_several: `--set A B`: a second `--set` would replace what the first said.
    """

    flags: tuple[str, ...]
    takes_several: bool


def options_of(cls: Any, prefix: str = "") -> Iterator[Option]:
    """Every option that tyro makes of a dataclass, nested ones under their dotted names."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        bare, marks = _bare(hints[field.name]), getattr(hints[field.name], "__metadata__", ())
        words = {str(mark) for mark in marks}
        name = next((mark.name for mark in marks if getattr(mark, "name", None)), field.name)
        flag = prefix + name.replace("_", "-")
        if dataclasses.is_dataclass(bare):
            yield from options_of(bare, f"{flag}.")
            continue
        known_by_place = "Positional" in words
        aliases = [alias for mark in marks for alias in getattr(mark, "aliases", None) or ()]
        flags = [] if known_by_place else [f"--{flag}", *aliases]
        if bare is bool and not known_by_place:
            head, dot, tail = flag.rpartition(".")
            flags.append(f"--{head}{dot}no-{tail}")
        kinds = (bare, *(typing.get_args(bare) if typing.get_origin(bare) in _UNIONS else ()))
        several = any(typing.get_origin(kind) in (tuple, list, dict) for kind in kinds)
        yield Option(tuple(flags), several and "UseAppendAction" not in words)


def _bare(hint: Any) -> Any:
    """The type without `Annotated`, and without None where that is the only other choice."""
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    choices = [choice for choice in typing.get_args(hint) if choice is not type(None)]
    return choices[0] if type(None) in typing.get_args(hint) and len(choices) == 1 else hint


def check_names(cls: Any, arguments: Sequence[str], prog: str, others: Sequence[str] = ()) -> None:
    """Raise ConfigError for an option that does not exist, with the closest that does, and for a second mention of one
    that takes several values, of which the first would be lost.

    Args:
        others: options that are understood elsewhere.
    """
    options = list(options_of(cls))
    known = ["--help", *others, *(flag for option in options for flag in option.flags)]
    given = [_flag(word) for word in arguments if _FLAG.fullmatch(word)]
    for flag in given:
        if flag not in known:
            guess = _closest_flag(flag, known)
            hint = f" Did you mean {guess}?" if guess else ""
            raise ConfigError(f"Unknown option {flag}.{hint} See: {prog} --help")
    counts = Counter(given)
    for option in options:
        if option.takes_several and sum(counts[flag] for flag in option.flags) > 1:
            flag = option.flags[0]
            raise ConfigError(f"{flag} is given twice; write all its values after one {flag}, with spaces between.")


def _flag(word: str) -> str:
    """`--num_episodes=3` as `--num-episodes`."""
    return word.partition("=")[0].replace("_", "-")


def _closest_flag(flag: str, known: Sequence[str]) -> str | None:
    name = flag.lstrip("-")
    nested = [other for other in known if other.endswith(f".{name}")]
    names = {other.lstrip("-"): other for other in known}
    return nested[0] if nested else names.get(closest(name, names) or "")
