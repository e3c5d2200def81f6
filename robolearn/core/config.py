"""Configuration: dataclasses that are valid Python first, a command line made by tyro, a yaml file laid underneath.

Precedence: dataclass defaults < yaml file (`--config FILE`) < command line. The resolved configuration is
written next to every output, and can be given back with `--config`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from robolearn.core.arguments import check_names, number_rules, whole_number
from robolearn.core.errors import ConfigError, one_line, unknown_name
from robolearn.core.failure import is_users
from robolearn.core.files import write_text

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry

T = TypeVar("T")


def from_dict(cls: type[T], mapping: Mapping[str, Any], where: str = "configuration") -> T:
    """Build dataclass `cls` from a (possibly nested) mapping.

    Raises ConfigError for unknown names, with the closest match, for values of a wrong type and for missing ones.
    """
    values = _converted(cls, mapping, where)
    missing = [
        f.name
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.init and f.name not in values and f.default is f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: {', '.join(map(repr, missing))} missing, which {cls.__name__} has no default for.")
    try:
        return cls(**values)
    except TypeError as error:
        if is_users(error):
            raise
        raise ConfigError(f"{where}: {error}") from error


def _converted(cls: type, mapping: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The mapping's values in the types that the fields of dataclass `cls` declare."""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: found {mapping!r}, expected a mapping of option names to values.")
    known = {f.name for f in dataclasses.fields(cls) if f.init}
    hints = typing.get_type_hints(cls)
    for key in mapping:
        if key not in known:
            raise ConfigError(f"{where}: " + unknown_name("option", str(key), known))
    return {key: _convert(hints[key], value, f"{where}.{key}") for key, value in mapping.items()}


def _underlay(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """An instance to lay under a command line: required options may be absent, and nothing is validated yet."""
    import tyro

    values = _converted(cls, mapping, where)
    instance = object.__new__(cls)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name in values:
            value = values[field.name]
        elif field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            value = tyro.MISSING
        object.__setattr__(instance, field.name, value)
    return instance


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        options = [a for a in args if a is not type(None)]
        errors = []
        for option in options:
            try:
                return _convert(option, value, where)
            except ConfigError as error:
                errors.append(str(error))
        if len(options) > 1 and all(isinstance(option, type) for option in options):
            *others, last = [option.__name__ for option in options]
            raise ConfigError(f"{where}: found {value!r}, expected {', '.join(others)} or {last}.")
        raise ConfigError(errors[0])
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where}: " + unknown_name("value", str(value), [str(a) for a in args]))
        return value
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, typing.cast(type, hint)) else from_dict(typing.cast(type, hint), value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: found {value!r}, expected a mapping of names to values.")
        return {_convert(args[0], k, where): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: found {value!r}, expected a list.")
        if origin is list:
            return [_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(args) != len(value):
            raise ConfigError(f"{where}: found {len(value)} values, expected {len(args)}.")
        return tuple(_convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))
    if hint is Path:
        if not isinstance(value, str | Path):
            raise ConfigError(f"{where}: found {value!r}, expected a path.")
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):
        # yaml takes 1e-3 for a word: it wants 1.0e-3
        try:
            return float(value)
        except ValueError:
            raise ConfigError(f"{where}: found {value!r}, expected float.") from None
    if hint is int and isinstance(value, float | str):
        # yaml takes 1e4 for a word, too, and 1.0e+4 for a float
        try:
            return whole_number(str(value))
        except ValueError:
            raise ConfigError(f"{where}: found {value!r}, expected a whole number.") from None
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ConfigError(f"{where}: found {value!r}, expected {hint.__name__}.")
    return value


def to_dict(config: Any) -> Any:
    """A dataclass as plain dicts, lists and scalars, ready for yaml or json."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config) if f.init}
    if isinstance(config, Mapping):
        return {str(k): to_dict(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return [to_dict(v) for v in config]
    return str(config) if isinstance(config, Path) else config


def save_yaml(config: Any, path: Path) -> None:
    """Write a dataclass (or plain mapping) as yaml. Raises OSError with the file's name."""
    write_text(path, to_yaml(config))


def to_yaml(config: Any) -> str:
    """A dataclass (or plain mapping) as the text of a yaml file."""
    import yaml

    return yaml.safe_dump(to_dict(config), sort_keys=False)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a yaml mapping. Raises ConfigError when the file is missing or not a mapping."""
    import yaml

    if not path.is_file():
        raise ConfigError(f"Configuration file {path} does not exist.")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"Configuration file {path} is not valid yaml: {one_line(error)}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"Configuration file {path} holds {type(loaded).__name__}, expected a mapping of options.")
    return loaded


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings in one; what `over` says wins, mapping by mapping."""
    both = {**under, **over}
    for key in under.keys() & over.keys():
        if isinstance(under[key], Mapping) and isinstance(over[key], Mapping):
            both[key] = merged(under[key], over[key])
    return both


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def settings(words: Sequence[str], option: str) -> dict[str, Any]:
    """`NAME=VALUE` words as a mapping, values read as yaml does. Raises ConfigError for other words."""
    import yaml

    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ConfigError(f"{option} takes NAME=VALUE, found {word!r}.")
        if name.replace("-", "_") in found:
            raise ConfigError(f"{option} gives {name!r} two values.")
        try:
            found[name.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{option} {name}: {value!r} is not a value: {one_line(error)}.") from error
    return found


def take_option(arguments: list[str], option: str, what: str) -> str | None:
    """Remove `option VALUE` or `option=VALUE` from a command line and return the value; None where it is not given.

    Raises ConfigError when nothing, or another option, follows it; `what` says what should.
    """
    for position, argument in enumerate(arguments):
        if argument == option or argument.startswith(option + "="):
            _, inline, value = argument.partition("=")
            if not inline:
                value = arguments[position + 1] if position + 1 < len(arguments) else ""
            if not value or (not inline and value.startswith("--")):
                raise ConfigError(f"{option} needs {what} after it.")
            del arguments[position : position + (1 if inline else 2)]
            return value
    return None


def parse(
    cls: type[T],
    args: Sequence[str],
    prog: str,
    description: str = "",
    under: tuple[Mapping[str, Any], str] | None = None,
    others: Sequence[str] = (),
) -> T:
    """Parse a command line into dataclass `cls`, with `--config FILE.yaml` laid under it.

    Args:
        under: instead of that file, a mapping of options and what to call it in messages.
        others: options that the caller has taken out, to be suggested for what resembles them.

    Raises ConfigError (one line) for bad options; `--help` prints and exits as usual.
    """
    import tyro

    arguments = list(args)
    if under is None and (path := take_option(arguments, "--config", "a yaml file")) is not None:
        under = load_yaml(Path(path)), path
    wants_help = any(a in ("-h", "--help") for a in arguments)
    if not wants_help:
        check_names(cls, arguments, prog, ("--config", *others))
    default: dict[str, Any] = {} if under is None else {"default": _underlay(cls, *under)}
    # tyro explains mistakes in a multi-line box; keep its substance, in one line
    captured_out, captured_err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        if not wants_help:
            stack.enter_context(contextlib.redirect_stderr(captured_err))
            stack.enter_context(contextlib.redirect_stdout(captured_out))
            stack.enter_context(_wide_terminal())
        try:
            return tyro.cli(cls, args=arguments, prog=prog, description=description, registry=_rules(), **default)
        except SystemExit as stop:
            if wants_help or not stop.code:
                raise
            raise ConfigError(_one_line(captured_err.getvalue() or captured_out.getvalue(), prog)) from stop


def _rules() -> ConstructorRegistry:
    """For tyro: numbers as people type them, and mappings as NAME=VALUE words."""
    from tyro.constructors import PrimitiveConstructorSpec, PrimitiveTypeInfo

    rules = number_rules()

    @rules.primitive_rule
    def mapping(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        if typing.get_origin(info.type) is not dict:
            return None

        def read(words: list[str]) -> Any:
            try:
                return _convert(info.type, settings(words, "the option"), "value")
            except ConfigError as error:
                raise ValueError(str(error).rstrip(".")) from error  # what tyro shows with the option's name

        return PrimitiveConstructorSpec(
            nargs="*",
            metavar="[NAME=VALUE [NAME=VALUE ...]]",
            instance_from_str=read,
            is_instance=lambda value: isinstance(value, dict),
            str_from_instance=lambda value: [f"{name}={entry}" for name, entry in value.items()],
        )

    return rules


@contextlib.contextmanager
def _wide_terminal() -> Iterator[None]:
    """Where tyro would break words, it finds room for all of them."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100000"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _one_line(box: str, prog: str) -> str:
    """The words of tyro's error box (captured, so drawn in ASCII): sections between rules, of which the first is
    the title and the last points to the help."""
    sections: list[list[str]] = [[]]
    for line in box.splitlines():
        words = line.strip()
        if words and set(words) <= {"-"}:
            sections.append([])
        elif words:
            sections[-1].append(words)
    sentences = [_missing(lines) or " ".join(lines) for lines in sections[1:] if lines]
    told = [s.rstrip(" .") for s in sentences if not s.startswith(("For full helptext", "Argument helptext"))]
    if any("valid parse" in s and "," in s for s in told):
        told.append("Several values are separated by spaces")
    told = [_clearer(sentence) for sentence in told]
    return ". ".join([*(told or ["The command line could not be understood"]), f"See: {prog} --help"])


def _missing(lines: Sequence[str]) -> str | None:
    """Which options have to be given, of the section that lists them with their help; None for another section."""
    if not lines[0].startswith("Missing from "):
        return None
    flags = [line.split()[0] for line in lines if line.startswith("--")]
    placed = [line.removesuffix(" (required)").rstrip(".") for line in lines[2:]]  # after its metavar
    return f"Missing: {', '.join(flags) if flags else placed[0]}"


def _clearer(sentence: str) -> str:
    """A wrong choice with the one that was probably meant; of an option's several types, what its last one says."""
    choice = re.fullmatch(r"invalid choice (.*) for argument (.*)\. Expected one of \((.*)\)", sentence)
    if choice is not None:
        given, option, known = choice[1].strip("'"), choice[2].strip("'"), re.findall(r"'([^']*)'", choice[3])
        words = unknown_name("value", given, known).rstrip(".")
        return words.replace(repr(given), f"{given!r} of {option}", 1)
    several = re.fullmatch(r"(Error parsing \S+): no type matching .* Got errors: .*<class '[^']*'>: (.*)", sentence)
    return sentence if several is None else f"{several[1]}: {several[2]}"


def main_stderr(message: str) -> None:
    """Print one line for the user on stderr."""
    print(message, file=sys.stderr, flush=True)
