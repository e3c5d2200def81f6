"""Which processor networks run on: what `--device` asks for, or the best there is."""

from __future__ import annotations

import torch

from robolearn.core.errors import ConfigError

AUTO = "auto"
CHOICES = "Choose auto, cpu, cuda or cuda:N."


def choose_device(wanted: str = AUTO, processes: int = 1) -> torch.device:
    """The torch device called `wanted`; `auto` is a CUDA device where there is one, else the CPU.

    Args:
        processes: that want one each on this machine; with fewer CUDA devices `auto` is the CPU.

    Raises ConfigError, saying what to do, for a device that is not there.
    """
    if wanted == AUTO:
        return torch.device("cuda" if _cuda_devices() >= processes else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ConfigError(f"--device {wanted} cannot be used: there is no such kind of device. {CHOICES}") from None
    if device.type == "meta":
        raise ConfigError(f"--device meta holds no numbers. {CHOICES}")
    if device.type == "cuda":
        _require_cuda(wanted, device.index or 0)
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(".")
        raise ConfigError(f"--device {wanted} cannot be used: {reason[:200]}. {CHOICES}") from error
    return device


def describe_device(wanted: str, device: torch.device) -> str:
    """What was chosen, and why: `cpu (auto: this PyTorch has no CUDA)`."""
    if device.type == "cuda":
        said = torch.cuda.get_device_name(device)
    elif wanted != AUTO:
        return str(device)
    else:
        said = _why_no_cuda() or "fewer CUDA devices than processes"
    return f"{device} ({'auto: ' if wanted == AUTO else ''}{said})"


def _cuda_devices() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _why_no_cuda() -> str | None:
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    return None if torch.cuda.is_available() else f"PyTorch for CUDA {torch.version.cuda} finds no usable GPU"


def _require_cuda(wanted: str, index: int) -> None:
    """Raise ConfigError, saying what to install, unless the CUDA device is there."""
    if why := _why_no_cuda():
        remedy = "see whether `nvidia-smi` lists it, and install or update NVIDIA's driver"
        if torch.version.cuda is None:
            release = torch.__version__.partition("+")[0]
            remedy = (
                f"install the build with CUDA (on Linux: pip install --force-reinstall torch=={release}; else see "
                "https://pytorch.org/get-started/locally)"
            )
        raise ConfigError(f"--device {wanted} cannot be used: {why}; {remedy}, or use --device cpu.")
    if index >= _cuda_devices():
        raise ConfigError(
            f"--device {wanted} cannot be used: there are {_cuda_devices()} CUDA devices, counted from 0. {CHOICES}"
        )
