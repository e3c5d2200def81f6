"""Modules that were regrouped: whoever imports one by its old name is told the new one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_ROOMS = {  # where they were -> where they are
    "datasets": {
        "datasets.format": "alignment codecs episode image_header layout quaternions statistics",
        "datasets.read": "arrays frames reader store streams",
        "datasets.write": "commit creation encoders journal recorder stream_journal writer",
        "datasets.repair": "quarantine",
        "datasets.tools": "info start_states",
        "datasets.loader": "sampler",
        "core": "normalizer progress",
    },
    "evaluation": {
        "evaluation.run": "evaluate replay rollout seen_states source video workers",
        "evaluation.statistics": "compare episode figures paired protocol results runs tally",
        "evaluation.pages": "charts page",
        "execution": "goals",
    },
    "control": {"execution": "chunk history interpolation scheduler"},
    "serving": {"execution": "timed_window"},
}
_CONVERT = {
    "aloha_files": "aloha.files",
    "aloha_hdf5": "aloha.reader",
    "aloha_witness": "aloha.witness",
    "decide": "array_features",
    "diffusion_policy_zarr": "diffusion_policy.reader",
    "export.lerobot_stats": "export.lerobot.stats",
    "export.lerobot_tables": "export.lerobot.tables",
    "export.lerobot_v2": "export.lerobot.v2",
    "export.lerobot_v3": "export.lerobot.v3",
    "export.lerobot_video": "export.lerobot.video",
    "export.origin": "origin",
    "export.source": "export.exported_dataset",
    "hdf5": "robomimic.groups",
    "hdf5_witness": "robomimic.witness",
    "lerobot_info": "lerobot.info",
    "lerobot_look": "lerobot.true_features",
    "lerobot_rows": "lerobot.rows",
    "lerobot_v2": "lerobot.v2",
    "lerobot_v3": "lerobot.v3",
    "lerobot_witness": "lerobot.witness",
    "replay_buffer": "diffusion_policy.replay_buffer",
    "rlds_leaves": "rlds.leaves",
    "rlds_witness": "rlds.witness",
    "robomimic_file": "robomimic.file",
    "robomimic_hdf5": "robomimic.reader",
    "spool": "frame_spool",
    "tfrecord": "rlds.tfrecord",
    "wishes": "overrides",
    "zarr_chunks": "diffusion_policy.chunks",
    "zarr_layouts": "diffusion_policy.layouts",
    "zarr_witness": "diffusion_policy.witness",
}
MOVED = (
    {
        f"robolearn.{before}.{name}": f"robolearn.{after}.{name}"
        for before, rooms in _ROOMS.items()
        for after, names in rooms.items()
        for name in names.split()
    }
    | {
        f"robolearn.datasets.convert.{before}": f"robolearn.datasets.convert.{after}"
        for before, after in _CONVERT.items()
    }
    | {
        "robolearn.cli.checks": "robolearn.core.health, robolearn.core.packages, robolearn.sim.health, "
        "robolearn.policies.health and robolearn.hardware.health",
        "robolearn.cli.demonstrations": "robolearn.teleop.demonstrations",
        "robolearn.datasets.convert.source": "robolearn.datasets.convert.provenance and "
        "robolearn.datasets.convert.wording",
        "robolearn.datasets.counts": "robolearn.datasets.write.stream_counts",
        "robolearn.datasets.derived": "robolearn.datasets.repair.recomputed_rows",
        "robolearn.datasets.edits": "robolearn.datasets.read.edits (reading) and "
        "robolearn.datasets.write.edits (changing)",
        "robolearn.datasets.mending": "robolearn.datasets.repair.repair_step",
        "robolearn.datasets.placing": "robolearn.datasets.write.whole_episode",
        "robolearn.datasets.rescue": "robolearn.datasets.repair.unfinished_episodes",
        "robolearn.datasets.salvage": "robolearn.datasets.repair.read_journal",
        "robolearn.datasets.staging": "robolearn.datasets.write.chunk_staging",
        "robolearn.datasets.storage": "robolearn.datasets.write.durable",
        "robolearn.evaluation.comparison_page": "robolearn.evaluation.pages.comparison",
        "robolearn.evaluation.report": "robolearn.evaluation.pages.demo",
        "robolearn.sim.experts.demonstrations": "robolearn.teleop.demonstrations",
        "robolearn.policies.spec": "robolearn.execution.policy_spec",
        "robolearn.sim.controllers": "robolearn.sim.engine.scene_ik and robolearn.sim.engine.controller",
        "robolearn.sim.physics_state": "robolearn.sim.engine.physics_state",
        "robolearn.sim.robots.panda": "robolearn.kinematics.robots.panda and robolearn.sim.robots.attach",
        "robolearn.sim.scenes": "robolearn.sim.tasks and robolearn.sim.worlds",
        "robolearn.sim.tabletop": "robolearn.sim.engine.environment and robolearn.sim.worlds.tabletop",
    }
)


class _Signpost(MetaPathFinder):
    """Asked last, when nobody else has found a module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in MOVED:
            # `from package import module` swallows an error that names the module itself
            raise ModuleNotFoundError(f"{fullname} is now {MOVED[fullname]}; import it from there.", name="robolearn")
        return None


def put_up_signpost() -> None:
    """From now on a module's old name is answered with its new one."""
    if not any(isinstance(finder, _Signpost) for finder in sys.meta_path):
        sys.meta_path.append(_Signpost())
