"""The one teleoperation loop. `record` and `teleop` both run it; a clock decides whether in real or simulated time.

One tick, at a declared rate:

    wait -> observe -> device looks and is read -> twist moves the target -> action -> recorded -> applied

Time stamps are seconds on the session's clock since the first recorded step, taken when the tick began. With a
`VirtualClock` that is simulated time; with a `MonotonicClock` it is when things really happened, late ticks
included. While the operator has paused, the arm holds its target and nothing is recorded: time goes on, so the
stamps show the gap, and the pause is listed in the result, so that readers can tell it from lost steps.
"""

from __future__ import annotations

from collections.abc import Callable

from robolearn.core.clock import Clock, Ticker
from robolearn.core.provenance import wall_time
from robolearn.execution.command import Command
from robolearn.hardware.input.protocol import Event, InputDevice, Motion
from robolearn.teleop.episode import Episode
from robolearn.teleop.integrator import Leash, TargetIntegrator
from robolearn.teleop.pace import Pace
from robolearn.teleop.sink import EpisodeSink
from robolearn.teleop.target import TeleopTarget

ENDINGS = (Event.SAVE, Event.DISCARD, Event.STOP)


class TeleopSession:
    """Runs episodes.

    Args:
        target, device, clock: what is driven, by whom, in which time.
        rate_hz: ticks per second.
        sink: is given every step.
        on_tick: called once a tick with the episode so far, the measured pose and the target pose.
        should_stop: asked once a tick; True ends the session as if the operator had.
    """

    def __init__(
        self,
        target: TeleopTarget,
        device: InputDevice,
        clock: Clock,
        rate_hz: float,
        sink: EpisodeSink | None = None,
        on_tick: Callable[[Episode, Command, Command], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        leash: Leash | None = None,
    ):
        self._target = target
        self._device = device
        self._clock = clock
        self._ticker = Ticker(clock, rate_hz)
        self._pace = Pace(clock, rate_hz)
        self._integrator = TargetIntegrator(*target.workspace_m, leash)
        self._sink = sink or EpisodeSink()
        self._on_tick = on_tick
        self._should_stop = should_stop

    def run_episode(self, init_state: int) -> Episode:
        """Run until the operator saves, discards or stops. The device must be connected.

        For a device held by a person, recording begins with the first motion: nobody's hand is ready when the
        scene has just been reset. However it ends, the target is told.
        """
        try:
            return self._run_episode(init_state)
        finally:
            self._target.end_episode()

    def _run_episode(self, init_state: int) -> Episode:
        target, device, ticker = self._target, self._device, self._ticker
        target.start_episode(init_state)
        device.start_episode(init_state)
        episode = Episode(init_state, started_at=wall_time(), waiting=not device.autonomous)
        self._integrator.start(Command.from_action(target.observe()["observation.state"]))
        ticker.reset()
        began_s = self._clock.now()
        first_step_s = began_s
        while True:
            late = ticker.wait() > ticker.tolerance_s
            now_s = self._clock.now()
            with self._pace.spending("scene"):
                observation = target.observe()
            measured = Command.from_action(observation["observation.state"])
            with self._pace.spending("operator"):
                device.observe(observation, now_s - began_s)
                motion = device.read()
            ends = self._handle_events(motion, episode, now_s - first_step_s)
            with self._pace.spending("viewer"):
                ends = ends or self._should_stop()
            if ends:
                break
            if motion.gripper is not None or motion.twist.any():
                episode.waiting = False
            still = episode.paused or episode.waiting
            self._pace.counting = not still
            command = self._integrator.step(Motion() if still else motion, measured, ticker.period_s)
            action = target.action(command)
            if not still:
                if episode.steps == 0:
                    first_step_s = now_s
                    self._pace.reset()
                stamp_s = now_s - first_step_s
                with self._pace.spending("recording"):
                    self._sink.step(stamp_s, {**observation, "action": action}, target.sim_state())
                episode.late_ticks += late
                episode.steps += 1
                episode.duration_s = stamp_s
                episode.slowed_by = self._pace.slowed_by(episode.steps - 1, episode.recorded_s)
            episode.skipped_ticks = ticker.skipped
            with self._pace.spending("scene"):
                target.apply(action)
                episode.success = target.success()
            if self._on_tick is not None:
                self._on_tick(episode, measured, command)
        episode.inexact = target.inexact()
        self._sink.pause()  # what devices do from here on, while the arm comes to rest, is not the episode
        if episode.paused and episode.pauses:
            episode.pauses.pop()  # nothing was recorded after it
        return episode

    def _handle_events(self, motion: Motion, episode: Episode, stamp_s: float) -> bool:
        """Apply what was pressed; True when that ends the episode. An empty episode cannot be saved."""
        for event in motion.events:
            if event is Event.CLUTCH:
                self._toggle_pause(episode, stamp_s)
            elif event is Event.SUCCESS or event is Event.FAILURE:
                episode.mark = event is Event.SUCCESS
            elif event in ENDINGS and not (event is Event.SAVE and episode.steps == 0):
                episode.ending = event
                return True
        return False

    def _toggle_pause(self, episode: Episode, stamp_s: float) -> None:
        episode.paused = not episode.paused
        if episode.paused:
            self._sink.pause()
        if episode.steps == 0:  # before the first step there is no time axis to leave a gap in
            return
        if episode.paused:
            episode.pauses.append((stamp_s, 0.0))
        else:
            start_s, _ = episode.pauses.pop()
            episode.pauses.append((start_s, stamp_s - start_s))
