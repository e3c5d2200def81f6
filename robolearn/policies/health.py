"""What `robolearn doctor` finds of learning. Nothing here raises."""

from __future__ import annotations

from collections.abc import Iterator

from robolearn.core.health import HealthCheck
from robolearn.core.pins import install_line, version_of


def learning_checks() -> Iterator[HealthCheck]:
    group = "Learning"
    if version_of("torch") is None:
        yield HealthCheck(group, "torch", "info", "not installed", f"{install_line('train')}, when it is needed")
        return
    try:
        import torch
    except Exception as error:  # a broken wheel fails in many ways
        yield HealthCheck(group, "torch", "bad", f"cannot be imported: {error}", "reinstall it: see constraints.txt")
        return
    yield HealthCheck(group, "torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield HealthCheck(group, "cuda", "ok", names)
    else:
        yield HealthCheck(group, "cuda", "info", "none: training and inference use the processor")
