"""A power cut: what a recording process did to its files, played back onto an empty disk that forgets un-synced parts.

`trace` runs a real process under strace and turns its system calls into operations on names (make, link, rename,
remove) and on data (write, truncate). A cut at any of them keeps what a completed sync covers: `syncfs` everything that
was done before it began, `fsync` the data of its file or the names of its folder. Of the rest, each `Mode` forgets
another part, also such that a journalling file system would keep.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from robolearn.core.errors import DatasetError
from robolearn.datasets.read.reader import Dataset

Mode = Literal["nothing", "everything", "names", "data", "some", "in_order"]
MODES: tuple[Mode, ...] = get_args(Mode)
CALLS = (
    "open,openat,creat,close,write,pwrite64,writev,pwritev,truncate,ftruncate,fallocate,rename,renameat,renameat2,"
    "link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,sync,syncfs,sync_file_range,"
    "copy_file_range,sendfile,msync"
)
_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")
_ARGUMENT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?|(-?\w+)<((?:[^>\\]|\\.)*)>|([^,"<>]+)')


@dataclass
class Operation:
    """One change.

    Attributes:
        begin, end: places in the trace; between them it was under way.
        kind: `name`, `data` or `sync`.
        node: the file whose data changes, or that is synced; 0 is the root, None with `sync` means all.
        names: for `name`: (folder, name, node or None for gone), applied together.
        offset, data: for `data`: what is written where; data None is a truncation at `offset`.
    """

    begin: int
    end: int
    kind: Literal["name", "data", "sync"]
    node: int | None = None
    names: list[tuple[int, str, int | None]] = field(default_factory=list)
    offset: int = 0
    data: bytes | None = None


@dataclass
class Trace:
    """All operations below `root`, and (place in the trace, text) of what the process acknowledged."""

    operations: list[Operation]
    acknowledged: list[tuple[int, str]]
    folders: set[int]


def trace(command: list[str], root: Path, acks: Path, scratch: Path) -> Trace:
    """Run `command`, which changes files below `root` and writes lines to `acks`. Raises RuntimeError when it fails."""
    output = scratch / "strace.txt"
    strace = [
        "strace",
        "-f",
        "-y",
        "-xx",
        "-s",
        "10000000",
        "-e",
        f"trace={CALLS}",
        "-e",
        "signal=none",
        "-o",
        str(output),
    ]
    done = subprocess.run([*strace, *command], capture_output=True, text=True, cwd=scratch)
    if done.returncode:
        raise RuntimeError(f"{command[:2]} under strace: {done.stderr[-2000:]}")
    return _Reader(root, acks).read(output.read_text())


class _Reader:
    """Turns lines of strace into operations: keeps the tree of names and the open files as they were at each line."""

    def __init__(self, root: Path, acks: Path):
        self._root, self._acks = os.path.realpath(root), os.path.realpath(acks)
        self._tree: dict[int, dict[str, int]] = {}
        self._sizes: dict[int, int] = {}
        self._files: dict[int, tuple[int | None, int]] = {}  # descriptor -> (node, position)
        self._next = 1
        self._trace = Trace([], [], {0})

    def read(self, text: str) -> Trace:
        self._tree[0] = {}
        started: dict[str, tuple[int, str]] = {}
        for number, line in enumerate(text.splitlines()):
            match = _LINE.match(line)
            if not match:
                continue
            thread, rest = match.groups()
            if rest.endswith("<unfinished ...>"):
                started[thread] = (number, rest[: -len("<unfinished ...>")].rstrip())
                if rest.startswith("close("):  # at once: another thread may get the number before this line ends
                    self._files.pop(int(re.split(r"\D", rest[len("close(") :])[0]), None)
                continue
            begin = number
            if rest.startswith("<... close"):
                started.pop(thread, None)
                continue
            if rest.startswith("<... "):
                begin, head = started.pop(thread, (number, ""))
                rest = head + rest.partition("resumed>")[2]
            call = _CALL.match(rest)
            if call and int(call[3]) >= 0:
                self._call(begin, number, call[1], _arguments(call[2]), int(call[3]))
        return self._trace

    def _find(self, path: str) -> tuple[int, str, int | None] | None:
        """(folder, name, node or None) of a path below the root."""
        if path == self._root:
            return 0, "", 0
        if not path.startswith(self._root + "/"):
            return None
        node, parts = 0, [part for part in path[len(self._root) + 1 :].split("/") if part]
        for part in parts[:-1]:
            if part not in self._tree.get(node, {}):
                return None
            node = self._tree[node][part]
        return node, parts[-1], self._tree.get(node, {}).get(parts[-1])

    def _name(self, begin: int, end: int, names: list[tuple[int, str, int | None]]) -> None:
        for folder, name, node in names:
            if node is None:
                self._tree[folder].pop(name, None)
            else:
                self._tree[folder][name] = node
        self._trace.operations.append(Operation(begin, end, "name", names=names))

    def _call(self, begin: int, end: int, call: str, args: list[str | bytes], result: int) -> None:
        operations = self._trace.operations
        if call in ("open", "openat", "creat"):
            path, flags = (
                _path(args)
                if call == "openat"
                else (_text(args[0]), str(args[1]) if call == "open" else "O_CREAT|O_TRUNC")
            )
            flags = str(args[2]) if call == "openat" else flags
            self._files.pop(result, None)
            found = self._find(path)
            if os.path.realpath(path) == self._acks:
                self._files[result] = (-1, 0)
            if not found:
                return
            folder, name, node = found
            if node is None:
                node, self._next = self._next, self._next + 1
                self._sizes[node] = 0
                self._name(begin, end, [(folder, name, node)])
            elif "O_TRUNC" in flags and self._sizes.get(node):
                self._sizes[node] = 0
                operations.append(Operation(begin, end, "data", node))
            self._files[result] = (node, self._sizes.get(node, 0) if "O_APPEND" in flags else 0)
        elif call == "close":
            self._files.pop(_descriptor(args[0]), None)
        elif call in ("write", "pwrite64"):
            number = _descriptor(args[0])
            node, position = self._files.get(number, (None, 0))
            if node is None:
                return
            data = bytes(args[1])[:result]  # type: ignore[arg-type]
            if node == -1:
                self._trace.acknowledged += [(end, line) for line in data.decode().split("\n") if line]
                return
            offset = int(str(args[3])) if call == "pwrite64" else position
            operations.append(Operation(begin, end, "data", node, offset=offset, data=data))
            self._sizes[node] = max(self._sizes.get(node, 0), offset + len(data))
            if call == "write":
                self._files[number] = (node, position + len(data))
        elif call == "ftruncate":
            node, _ = self._files.get(_descriptor(args[0]), (None, 0))
            if node is not None:
                self._sizes[node] = int(str(args[1]))
                operations.append(Operation(begin, end, "data", node, offset=int(str(args[1]))))
        elif call in ("rename", "renameat", "renameat2", "link", "linkat"):
            two = (
                [_text(args[0]), _text(args[1])] if call in ("rename", "link") else [_path(args[0:2]), _path(args[2:4])]
            )
            source, target = (self._find(p if isinstance(p, str) else p[0]) for p in two)
            if source and target and source[2] is not None:
                gone: list[tuple[int, str, int | None]] = [] if "link" in call else [(source[0], source[1], None)]
                self._name(begin, end, [*gone, (target[0], target[1], source[2])])
        elif call in ("mkdir", "mkdirat"):
            found = self._find(_text(args[0]) if call == "mkdir" else _path(args)[0])
            if found and found[1]:
                node, self._next = self._next, self._next + 1
                self._tree[node] = {}
                self._trace.folders.add(node)
                self._name(begin, end, [(found[0], found[1], node)])
        elif call in ("unlink", "unlinkat", "rmdir"):
            found = self._find(_path(args)[0] if call == "unlinkat" else _text(args[0]))
            if found and found[2] is not None:
                self._name(begin, end, [(found[0], found[1], None)])
        elif call in ("sync", "syncfs"):
            operations.append(Operation(begin, end, "sync"))
        elif call in ("fsync", "fdatasync"):
            node, _ = self._files.get(_descriptor(args[0]), (None, 0))
            if node is not None and node >= 0:
                operations.append(Operation(begin, end, "sync", node))
        elif any(self._root in str(arg) for arg in args):
            raise RuntimeError(f"the simulation does not know {call}{args}")


def _arguments(text: str) -> list[str | bytes]:
    """Quoted ones as bytes, descriptors as `number<path>`, the rest as they are."""
    found: list[str | bytes] = []
    for quoted, number, path, plain in _ARGUMENT.findall(text):
        if number:
            found.append(f"{number}<{_unescape(path).decode()}>")
        elif plain.strip():
            found.append(plain.strip())
        elif not plain:
            found.append(_unescape(quoted))
    return found


def _unescape(text: str) -> bytes:
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), text.encode())


def _text(argument: str | bytes) -> str:
    return os.path.normpath(argument.decode() if isinstance(argument, bytes) else argument)


def _path(args: list[str | bytes]) -> tuple[str, str]:
    """The path that a folder's descriptor and a name mean."""
    folder = str(args[0]).partition("<")[2].rstrip(">")
    return os.path.normpath(os.path.join(folder, _text(args[1]))), ""


def _descriptor(argument: str | bytes) -> int:
    return int(str(argument).partition("<")[0])


def after_cut(found: Trace, cut: int, mode: Mode, rng: np.random.Generator) -> list[Operation]:
    """The operations that are on the disk after a power cut right after line `cut` of the trace."""
    done = [op for op in found.operations if op.end <= cut]
    synced_all = max((op.begin for op in done if op.kind == "sync" and op.node is None), default=-1)
    synced: dict[int, int] = {}
    for op in done:
        if op.kind == "sync" and op.node is not None:
            synced[op.node] = max(op.begin, synced.get(op.node, -1))
    changes = [op for op in done if op.kind != "sync"]

    def durable(op: Operation) -> bool:
        if op.end < synced_all:
            return True
        if op.kind == "data":
            return op.end < synced.get(op.node if op.node is not None else -1, -1)
        gained = [folder for folder, _, node in op.names if node is not None]  # a rename is durable where it arrives
        return all(op.end < synced.get(folder, -1) for folder in gained or [op.names[0][0]])

    loose_names = [op for op in changes if op.kind == "name" and not durable(op)]
    ordered = {id(op) for op in loose_names[: int(rng.integers(len(loose_names) + 1))]}
    kept = []
    for op in changes:
        chance = bool(rng.integers(2))
        keep = {
            "nothing": False,
            "everything": True,
            "names": op.kind == "name",
            "data": op.kind == "data",
            "some": chance,
            "in_order": id(op) in ordered if op.kind == "name" else chance,
        }[mode]
        if durable(op) or keep:
            kept.append(op)
        elif mode == "some" and op.data and rng.integers(4) == 0:  # a torn write
            kept.append(
                Operation(op.begin, op.end, "data", op.node, offset=op.offset, data=op.data[: len(op.data) // 2])
            )
    return kept


def play_back(operations: list[Operation], folders: set[int], target: Path) -> None:
    """Make the files that these operations leave, below the new folder `target`."""
    tree: dict[int, dict[str, int]] = {node: {} for node in folders}
    contents: dict[int, bytearray] = {}
    for op in operations:
        if op.kind == "data" and op.node is not None:
            content = contents.setdefault(op.node, bytearray())
            if op.data is None:
                del content[op.offset :]
                continue
            content.extend(bytes(max(0, op.offset - len(content))))
            content[op.offset : op.offset + len(op.data)] = op.data
        for folder, name, node in op.names:
            tree[folder].pop(name, None)
            if node is not None:
                tree[folder][name] = node
    written: dict[int, Path] = {}

    def make(folder: int, path: Path) -> None:
        path.mkdir()
        for name, node in tree[folder].items():
            if node in folders:
                make(node, path / name)
            elif node in written:
                os.link(written[node], path / name)
            else:
                (path / name).write_bytes(contents.get(node, b""))
                written[node] = path / name

    make(0, target)


def cut_many(
    found: Trace, scratch: Path, check: Callable[[Path, list[str]], list[str]], cuts: int, seed: int = 0
) -> tuple[int, list[str]]:
    """Cut the power at `cuts` places spread over the trace, in each mode.

    Args:
        check: given the dataset's folder after the cut and what had been acknowledged; returns what is wrong.

    Returns (number of simulated cuts, complaints).
    """
    rng, complaints, count = np.random.default_rng(seed), [], 0
    ends = sorted({op.end for op in found.operations})
    places = np.unique(np.linspace(0, len(ends) - 1, min(cuts, len(ends))).round().astype(int))
    for place in places.tolist():
        for mode in MODES:
            target = scratch / f"cut{place}_{mode}"
            play_back(after_cut(found, ends[place], mode, rng), found.folders, target)
            acknowledged = [line for end, line in found.acknowledged if end <= ends[place]]
            complaints += [f"cut after line {ends[place]}, {mode} kept: {c}" for c in check(target, acknowledged)]
            subprocess.run(["rm", "-rf", str(target)], check=True)
            count += 1
    return count, complaints


def check_dataset(path: Path, acknowledged: list[str]) -> list[str]:
    """After a cut: the dataset opens, holds every acknowledged episode and at most one more, and all of them whole."""
    promised = int(acknowledged[-1]) if acknowledged else 0
    try:
        dataset = Dataset(path)
    except DatasetError as error:
        return [str(error)] if promised else []  # the cut came while it was made
    complaints = []
    if not promised <= dataset.num_episodes <= promised + 1:
        complaints.append(f"{dataset.num_episodes} episodes, {promised} were acknowledged")
    for episode in range(dataset.num_episodes):
        try:
            dataset.verify_episode(episode)
        except DatasetError as error:
            complaints.append(str(error))
    return complaints


def record_and_cut(
    kind: Literal["steps", "streams"], scratch: Path, cuts: int, episodes: int = 4, seed: int = 0
) -> tuple[int, list[str]]:
    """Record with `recording_child.py` and cut the power at `cuts` places; see `cut_many`."""
    dataset, acks, child = scratch / "d.zarr", scratch / "acks", Path(__file__).with_name("recording_child.py")
    command = [sys.executable, str(child), kind, str(dataset), str(acks), str(episodes)]
    return cut_many(trace(command, dataset, acks, scratch), scratch, check_dataset, cuts, seed)
