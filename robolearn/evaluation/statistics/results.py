"""What an evaluation found, as one json file that can be read back, compared and reported."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robolearn.core.config import from_dict
from robolearn.core.errors import ConfigError, DatasetError
from robolearn.core.files import write_text
from robolearn.evaluation.statistics.episode import AbortedEpisode, EpisodeResult
from robolearn.evaluation.statistics.intervals import Estimate, behaviour_entropy, bootstrap_mean, wilson_interval
from robolearn.evaluation.statistics.tally import Tally

FORMAT = "robolearn.evaluation/1"
FILE_NAME = "results.json"
_NEEDED = {"policy": ("source",), "environment": ("name", "scene_version", "max_steps"), "settings": ("execute",)}


@dataclass(frozen=True)
class EvaluationResults:
    """Episodes of one policy in one environment; all that is computed of them is of the judged ones.

    Attributes:
        policy: `source` (directory or factory), `spec`, `provenance` of the checkpoint.
        environment: `name`, `scene_version`, `robots` (the version of each one's model), `options`, `control_hz`,
            `max_steps`, `modes` (how many, or None), `actions` (the layout that it took).
        settings: `seed`, `execute`, `workers`, `max_steps`, `actions` (what became of the policy's).
        episodes: those that were judged, in the order of the start states.
        wall_s: of the whole evaluation, loading included.
        command: what was typed, if anything was.
        provenance: versions, git revision, machine and date of the evaluation.
        aborted: episodes that ended before they could be judged.
    """

    policy: dict[str, Any]
    environment: dict[str, Any]
    settings: dict[str, Any]
    episodes: tuple[EpisodeResult, ...]
    wall_s: float
    command: str | None
    provenance: dict[str, Any]
    aborted: tuple[AbortedEpisode, ...] = ()

    @property
    def init_states(self) -> list[int]:
        """Of all episodes, judged or not."""
        return sorted([e.init_state for e in self.episodes] + [e.init_state for e in self.aborted])

    @property
    def tally(self) -> Tally:
        return Tally(self.successes, len(self.episodes), tuple(e.cause for e in self.aborted))

    @property
    def made(self) -> str:
        """When, and how many episodes."""
        date, n = str(self.provenance.get("date")), len(self.init_states)
        return f"{date[:10]} {date[11:16]} UTC ({n} episode{'s' if n != 1 else ''})"

    @property
    def successes(self) -> int:
        return sum(e.success for e in self.episodes)

    @property
    def success(self) -> Estimate:
        """Success rate with its Wilson interval."""
        return wilson_interval(self.successes, len(self.episodes))

    @property
    def score(self) -> Estimate:
        """Mean over episodes of the best score reached in each, with its bootstrap interval."""
        return bootstrap_mean([e.max_score for e in self.episodes])

    @property
    def entropy(self) -> Estimate | None:
        """Behaviour entropy of the successful episodes, where the environment tells behaviour modes apart."""
        base = self.environment.get("modes")
        return behaviour_entropy([e.mode if e.success else None for e in self.episodes], base) if base else None

    def timing(self) -> dict[str, float]:
        """Wall time, and inference time as the mean over all chunk predictions."""
        calls = sum(e.inferences for e in self.episodes)
        steps = sum(e.steps for e in self.episodes)
        return {
            "wall_s": self.wall_s,
            "episode_s": sum(e.wall_s for e in self.episodes) / len(self.episodes),
            "steps": steps,
            "steps_per_s": steps / self.wall_s if self.wall_s else 0.0,
            "inference_ms": sum(e.mean_inference_ms * e.inferences for e in self.episodes) / calls if calls else 0.0,
        }

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "success": {"k": self.successes, **self.success.to_dict()},
            "score": self.score.to_dict(),
            "entropy": self.entropy.to_dict() if self.entropy else None,
            "policy": self.policy,
            "environment": self.environment,
            "settings": self.settings,
            "init_states": self.init_states,
            "timing": self.timing(),
            "command": self.command,
            "provenance": self.provenance,
            "episodes": [e.to_dict() for e in self.episodes],
            "aborted": [asdict(e) for e in self.aborted],
        }

    def save(self, folder: Path) -> Path:
        """Write `results.json` into `folder`; an older one is replaced in one step."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE_NAME
        write_text(path, json.dumps(self.to_dict(), indent=1))
        return path

    @classmethod
    def load(cls, path: Path) -> EvaluationResults:
        """Read `results.json` or the folder that holds it. Raises DatasetError when it is missing or damaged."""
        path = path / FILE_NAME if path.is_dir() else path
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise DatasetError(f"There are no evaluation results at {path}. Make them with: robolearn eval") from error
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path} is not readable as evaluation results: {error}") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            kind = found.get("format") if isinstance(found, dict) else type(found).__name__
            raise DatasetError(f"{path} has format {kind!r}, expected {FORMAT!r}.")
        try:
            for part, names in _NEEDED.items():
                for name in names:
                    found[part][name]
            if not found["episodes"]:
                raise DatasetError(f"{path} holds no judged episodes. Run the evaluation again.")
            return cls(
                policy=found["policy"],
                environment=found["environment"],
                settings=found["settings"],
                episodes=tuple(
                    from_dict(EpisodeResult, episode, f"episode {number}")
                    for number, episode in enumerate(found["episodes"])
                ),
                wall_s=float(found["timing"]["wall_s"]),
                command=found["command"],
                provenance=found["provenance"],
                aborted=tuple(
                    from_dict(AbortedEpisode, episode, f"aborted {number}")
                    for number, episode in enumerate(found.get("aborted", ()))
                ),
            )
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            reason = str(error).rstrip(".")
            raise DatasetError(f"{path} is damaged: {reason}. Run the evaluation again.") from error
