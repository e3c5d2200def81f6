"""`Origin`: the json document "robolearn" that travels with an export, so that importing it again loses nothing.

Other formats have no place for units, element names, labels, masks or true times. Where each exporter puts the
document is said in `docs/conversion.md`; readers of the other format do not look there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, Features, features
from robolearn.datasets.format.layout import Json

KEY = "robolearn"
VERSION = 1


@dataclass(frozen=True)
class Origin:
    """Facts of the dataset that was exported.

    Attributes:
        fps: nominal rate of the steps in Hz.
        features: all features of the steps.
        keys: name in the other format -> feature name. What is not listed there was made up by the exporter.
        timestamp: name, in the other format, of the true times (float64 seconds since the episode started).
        metadata: facts about the whole dataset.
        sim_env: the simulated environment, or None.
        masks: mask -> episodes in it, numbered as in the export.
        source_episodes: index of each episode in the dataset it came from.
        episodes: record of each episode; empty where the format keeps them with the episodes.
    """

    fps: float
    features: Features
    keys: Mapping[str, str]
    timestamp: str
    metadata: Json = field(default_factory=dict)
    sim_env: Json | None = None
    masks: Mapping[str, Sequence[int]] = field(default_factory=dict)
    source_episodes: Sequence[int] = ()
    episodes: Sequence[Json] = ()

    @property
    def imported_metadata(self) -> Json:
        """Facts about the dataset that an import of the export makes: where ours came from is `exported_from` there."""
        carried = {key: value for key, value in self.metadata.items() if key != "provenance"}
        return {**carried, "exported_from": self.metadata.get("provenance")}

    def to_json(self) -> Json:
        return {
            "version": VERSION,
            "fps": self.fps,
            "features": [feature.to_dict() for feature in self.features.values()],
            "keys": dict(self.keys),
            "timestamp": self.timestamp,
            "metadata": self.metadata,
            "sim_env": self.sim_env,
            "masks": {name: list(episodes) for name, episodes in self.masks.items()},
            "source_episodes": list(self.source_episodes),
            "episodes": list(self.episodes),
        }

    @classmethod
    def from_json(cls, document: Any, where: str) -> Origin:
        """The inverse of `to_json`. Raises DatasetError, naming `where`, for anything else."""
        try:
            if document["version"] != VERSION:
                raise DatasetError(
                    f"{where} has version {document['version']!r}, expected {VERSION}; update robolearn."
                )
            described = features(Feature.from_dict(item) for item in document["features"])
            keys = {str(key): str(name) for key, name in document["keys"].items()}
            masks = {str(name): [int(i) for i in members] for name, members in document["masks"].items()}
            if set(keys.values()) != set(described):
                raise DatasetError(
                    f"{where} maps to {sorted(keys.values())}, but its features are {sorted(described)}."
                )
            return cls(
                float(document["fps"]),
                described,
                keys,
                str(document["timestamp"]),
                dict(document["metadata"]),
                document["sim_env"],
                masks,
                [int(i) for i in document["source_episodes"]],
                [dict(record) for record in document["episodes"]],
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, FeatureError) as error:
            raise DatasetError(f"{where} is damaged ({error!r}); export the dataset again.") from error
