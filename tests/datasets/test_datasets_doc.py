from pathlib import Path

import cv2
import numpy as np

from robolearn.datasets.read.reader import Dataset

DOC = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"


def test_the_writer_of_the_documentation_writes_an_episode(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = [block.split("```")[0] for block in DOC.read_text().split("```python\n")[1:]]
    (code,) = [block for block in blocks if "STEPS.zarr" in block]
    exec(compile(code, str(DOC), "exec"), {})
    dataset = Dataset("STEPS.zarr")
    assert (dataset.num_steps, dataset.episodes[0]["success"]) == (100, True)


def test_the_numpy_reader_of_the_documentation_reads_everything(make_dataset):
    blocks = DOC.read_text().split("```python\n")[1:]
    (code,) = [block.split("```")[0] for block in blocks if "def read_dataset" in block]
    namespace = {}
    exec(compile(code, str(DOC), "exec"), namespace)
    path = make_dataset(3, 70, sim=True)
    arrays, episodes = namespace["read_dataset"](path)
    dataset = Dataset(path)
    assert episodes == dataset.episodes
    assert (arrays["data/action"] == dataset.array("action")).all()
    assert (arrays["data/timestamp"] == dataset.timestamps).all()
    assert (arrays["meta/episode_ends"] == dataset.episode_ends).all()
    assert (arrays["sim/state"][3:] == dataset.sim_states(1)).all()
    frames = arrays["data/observation.images.front"]
    bgr = cv2.imdecode(np.frombuffer(frames[5], np.uint8), cv2.IMREAD_COLOR)
    assert (bgr[..., ::-1] == dataset.image("observation.images.front", 5)).all()
    assert len(frames) == 73
