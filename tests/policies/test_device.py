"""Which processor a network runs on, with the machine's CUDA played by stand-ins for torch's own answers."""

import pytest
import torch

from robolearn.core.errors import ConfigError
from robolearn.policies.device import choose_device, describe_device


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many CUDA devices, and a PyTorch that was built for it or not."""

    def play(built_for: str | None, devices: int) -> None:
        monkeypatch.setattr(torch.version, "cuda", built_for)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
        monkeypatch.setattr(torch, "empty", lambda *args, device: None)  # nothing can be put there

    return play


def refused(wanted: str) -> str:
    with pytest.raises(ConfigError) as error:
        choose_device(wanted)
    assert "\n" not in str(error.value) and f"--device {wanted}" in str(error.value)
    return str(error.value)


def test_auto_is_cuda_where_there_is_one_and_says_so(machine):
    machine("13.0", 1)
    assert choose_device() == torch.device("cuda")
    assert describe_device("auto", choose_device()) == "cuda (auto: NVIDIA H200)"
    assert describe_device("cuda", choose_device("cuda")) == "cuda (NVIDIA H200)"


def test_auto_is_the_processor_without_cuda_and_says_why(machine):
    machine(None, 0)
    assert choose_device() == torch.device("cpu")
    assert describe_device("auto", choose_device()).startswith("cpu (auto: PyTorch ")
    assert describe_device("auto", choose_device()).endswith(" is built without CUDA)")
    machine("13.0", 0)
    assert describe_device("auto", choose_device()) == "cpu (auto: PyTorch for CUDA 13.0 finds no usable GPU)"
    assert describe_device("cpu", choose_device("cpu")) == "cpu"


def test_auto_is_the_processor_for_more_processes_than_devices(machine):
    machine("13.0", 1)
    assert choose_device(processes=2) == torch.device("cpu")
    assert "fewer CUDA devices than processes" in describe_device("auto", torch.device("cpu"))


def test_cuda_without_a_build_for_it_says_what_to_install(machine):
    machine(None, 0)
    message = refused("cuda")
    assert "built without CUDA; install the build with CUDA" in message
    assert f"torch=={torch.__version__.partition('+')[0]};" in message and message.endswith("or use --device cpu.")


def test_cuda_without_a_gpu_names_the_driver(machine):
    machine("13.0", 0)
    assert "finds no usable GPU; see whether `nvidia-smi` lists it" in refused("cuda:0")


def test_a_number_too_high_says_how_many_there_are(machine):
    machine("13.0", 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert "there are 2 CUDA devices, counted from 0" in refused("cuda:2")


@pytest.mark.parametrize("wanted", ["gpu", "meta", "mps", "xpu", "hpu", "cuda:x", "cuda:-1", "", "cpu:7x", "xla"])
def test_any_other_device_is_one_line(wanted):
    assert "Choose auto, cpu, cuda or cuda:N." in refused(wanted)
