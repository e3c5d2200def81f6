import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.datasets.format.codecs import ImageCodec
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.edit import edit_labels, edit_mask, history, history_text
from robolearn.datasets.tools.select import Selection
from robolearn.datasets.tools.stats import dataset_stats, to_text
from robolearn.datasets.write.edits import edit_episodes, set_mask

NUMBERS = ("observation.state", "observation.force", "observation.keypoints", "observation.count", "action")


def expected(rows):
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    return {
        "min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0), "std": flat.std(0),
        **{f"q{100 * q:02.0f}": np.quantile(flat, q, axis=0) for q in (0.01, 0.1, 0.5, 0.9, 0.99)},
    }  # fmt: skip


@pytest.mark.parametrize("episodes", [None, "0,2", "1"])
def test_statistics_are_those_of_numpy(rich_dataset, episodes):
    dataset = Dataset(rich_dataset)
    stats = dataset_stats(dataset, Selection(episodes), NUMBERS)
    chosen = [int(c) for c in (episodes or "0,1,2").split(",")]
    steps = np.concatenate([np.arange(dataset.num_steps)[dataset.episode_slice(i)] for i in chosen])
    assert (stats["episodes"], stats["steps"]) == (len(chosen), len(steps))
    for feature in stats["features"]:
        for row, wanted in expected(dataset.array(feature["name"])[steps]).items():
            assert feature[row] == pytest.approx(wanted, rel=1e-9, abs=1e-9), (feature["name"], row)


def test_no_image_is_decoded(rich_dataset, monkeypatch):
    def decode(*_):
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(ImageCodec, "decode", decode)
    monkeypatch.setattr(ImageCodec, "decode_into", decode)
    stats = {feature["name"]: feature for feature in dataset_stats(Dataset(rich_dataset))["features"]}
    front = stats["observation.images.front"]
    assert front["elements"] == ["red", "green", "blue"]
    assert front["sampled_pixels"] > 0
    assert 0 <= front["min"][0] <= front["mean"][0] <= front["max"][0] <= 255


def test_quarantined_episodes_do_not_count(rich_dataset):
    set_mask(rich_dataset, "quarantine", [0])
    assert dataset_stats(Dataset(rich_dataset))["episodes"] == 2


def test_the_table_names_elements(rich_dataset):
    text = to_text(dataset_stats(Dataset(rich_dataset)))
    assert "3 episodes, 10 steps" in text
    for label in ("observation.state x ", "observation.keypoints 3,1", "observation.images.front green", "q99"):
        assert label in text
    assert len({len(line.split()) for line in text.splitlines() if line.startswith("observation.keypoints")}) == 1


def test_nothing_selected_or_unknown_is_refused(rich_dataset):
    with pytest.raises(ConfigError, match="no episode is selected"):
        dataset_stats(Dataset(rich_dataset), Selection(where=("seed>99",)))
    with pytest.raises(FeatureError, match="Did you mean 'action'"):
        dataset_stats(Dataset(rich_dataset), names=["actio"])


def test_edits_are_those_of_the_selected_episodes(rich_dataset):
    assert edit_labels(Dataset(rich_dataset), Selection(where=("success=false",)), {"task": "lift"}) == [1, 2]
    assert edit_mask(Dataset(rich_dataset), "good", Selection("-1")) == [2]
    dataset = Dataset(rich_dataset)
    assert [record["task"] for record in dataset.episodes] == ["task 0", "lift", "lift"]
    assert dataset.mask("good").tolist() == [False, False, True]
    told = history_text(history(dataset)).splitlines()
    assert told[0].endswith('task = "lift" for episodes 1-2')
    assert told[1].endswith("mask 'good' = episodes 2")
    assert history_text([]) == "No edits."


def test_edits_without_a_selection_or_of_facts_are_refused(rich_dataset):
    dataset = Dataset(rich_dataset)
    for call, message in (
        (lambda: edit_labels(dataset, Selection(), {"task": "x"}), "needs --episodes, --where or --in-mask"),
        (lambda: edit_labels(dataset, Selection("0"), {"source_episode": 3}), "is a fact of the recording"),
        (lambda: edit_labels(dataset, Selection(where=("seed=9",)), {"task": "x"}), "no episode is selected"),
        (lambda: edit_mask(dataset, "good", Selection()), "needs --episodes, --where or --in-mask"),
        (lambda: edit_mask(dataset, "quarantine", Selection("0")), "robolearn dataset repair"),
    ):
        with pytest.raises((ConfigError, DatasetError), match=message):
            call()
    assert Dataset(rich_dataset).edits == []
    edit_episodes(rich_dataset, [0], {"task": None})
    assert Dataset(rich_dataset).episodes[0]["task"] is None
