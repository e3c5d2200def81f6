import sys
from pathlib import Path

import pytest
import torch

from robolearn.policies.networks import decoder_layers

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)


@pytest.fixture
def full_precision(monkeypatch):
    """Decoding with float32 weights, as where fbgemm is missing."""
    monkeypatch.setattr(decoder_layers, "in_half_precision", lambda *_: None)
