"""The training loop: state and cadence. When to step, log, sample, evaluate and save; no maths and no printing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparring.checkpoint import (
    Checkpoint,
    Tensors,
    check_fits,
    load_optimizer_tensors,
    optimizer_tensors,
    prune,
    save_checkpoint,
)
from sparring.config import TrainConfig
from sparring.data import Data
from sparring.data.feed import Feed
from sparring.data.sampler import batch_indices
from sparring.ema import Ema
from sparring.errors import TrainingDivergedError
from sparring.fast.memory import upload
from sparring.games import Batch, Clock, Turn
from sparring.games.table import build_game
from sparring.generator import generate
from sparring.metrics.judge import Judge, Scores, floor
from sparring.moves import Moved, Moves
from sparring.networks import named_players
from sparring.optim import differentiable, set_schedule
from sparring.pictures import image_grid, save_png, scatter
from sparring.players import Player
from sparring.progress import Gauges, Progress, Stopwatch
from sparring.randomness import derive_seed, draw_prior, randomness, spread_prior
from sparring.runs import Event, EventLog, RunDirectory, storage_error, write_atomically
from sparring.runtime import Runtime
from sparring.schedules import burn_in, decay
from sparring.turns import Descent

#: Latents of evaluations are the same for every run, whatever its seed, so that scores can be compared.
EVALUATION_SEED = 1
_GRID = 64
_SCATTER = 1000
_PROBLEMS_KEPT = 1000  # files left out that the run directory remembers
_MOST_UNREAD = 256  # moves whose numbers wait on a GPU until somebody needs them
_MOST_SKIPS = 10  # turns in a row without a finite gradient before the run stops
_NEAR_HALF = 0.05  # how near to ½ the accuracy of D counts as equilibrium

Observer = Callable[[Event], None]


class Trainer:
    """Trains one run from where it stands to its last step."""

    def __init__(
        self,
        config: TrainConfig,
        data: Data,
        judge: Judge | None,
        run: RunDirectory,
        runtime: Runtime,
        observers: tuple[Observer, ...] = (),
        checkpoint: Checkpoint | None = None,
    ) -> None:
        """Build the players, or take them from a checkpoint.

        Args:
            config: the run's config.
            data: what D takes for real.
            judge: what scores the generator; None switches evaluation off.
            run: where everything is written.
            runtime: where everything is computed.
            observers: called with every event.
            checkpoint: where to go on from; None starts at step 0.

        Raises:
            CheckpointError: the checkpoint does not fit the config.
        """
        self.config, self.data, self.judge, self.run, self.runtime = config, data, judge, run, runtime
        self.observers = observers
        self.total_steps = config.total_steps(len(data))
        spec = config.network_spec(data.shape)
        networks = named_players(config.network, spec, randomness(config.seed, "weights"))
        for network in networks.values():
            network.to(device=runtime.device, memory_format=self._layout)  # type: ignore[call-overload]
        self.game = build_game(networks, config, data.shape)
        self.players = {name: Player(network, config.players[name]) for name, network in networks.items()}
        self.moves = Moves(self.game, self.players, runtime, config.accumulate, self._warn)
        self.feed = Feed(data, runtime.device)
        self.ema = Ema(networks["G"], config.g.ema_half_life)
        self.progress = Progress()
        self.gauges = Gauges()
        self._told: list[tuple[int, str, Moved]] = []
        #: Whether moves tell their numbers later: reading one makes the host wait for the device. What stabilizers remember
        #: of a move counts in the next one, so there they cannot.
        self._lets_wait = runtime.device.type != "cpu" and not list(self.game.memory.children())
        self.stopwatch = Stopwatch()
        self.saved_step: int | None = None
        self.unsaved: OSError | None = None
        self._stop = False
        self._left_out = False
        if checkpoint is not None:
            self._restore(checkpoint)
            self._point_to_best()
        self.log = EventLog(run.events_file, checkpoint.state["log_offset"] if checkpoint else 0)
        self.clock = EventLog(run.clock_file)

    def request_stop(self) -> None:
        """Ask the loop to finish its step, save and return."""
        self._stop = True

    def train(self) -> bool:
        """Train to the last step, or until a stop is asked for; the last state is saved either way.

        Returns:
            True when the last step was reached, or one at which the config says to stop.

        Raises:
            TrainingDivergedError: gradients were not finite again and again.
            StorageError: the last state could not be saved.
        """
        left_out = [f"{problem.path}: {problem.reason}" for problem in self.data.problems[:_PROBLEMS_KEPT]]
        self._tick("start", machine=self.runtime.fingerprint(), left_out=left_out)
        if self.progress.step == 0:
            self._measure_floor()
            self.draw_samples()
        while not self._done and not self._stop:
            self.play_step()
            self._keep_cadence()
        self._finish()
        return self._done

    @property
    def _done(self) -> bool:
        return self.progress.step >= self.total_steps or self.why_stopped is not None

    @property
    def why_stopped(self) -> str | None:
        """Why the run may end before its last step, or None: never because a loss went to 0."""
        config, progress = self.config, self.progress
        if 0 < config.patience <= progress.evaluations_since_best:
            return f"the score has not improved for {progress.evaluations_since_best} evaluations (--patience)"
        if 0 < config.equilibrium <= progress.rows_at_equilibrium:
            return f"D's accuracy has been near ½ for {progress.rows_at_equilibrium} rows of the log (--equilibrium)"
        return None

    # The step.

    def play_step(self) -> None:
        """Play every turn of the game once, then average G."""
        config, progress = self.config, self.progress
        self._set_schedules()
        real: tuple[Tensor, Tensor | None] | None = None
        for index, turn in enumerate(self.game.turns(self._clock())):
            if turn.fresh or real is None:
                real = self._real_batch(progress.step * self.game.real_batches + index)
            self._play(turn, self._batch(real, index, turn.draws))
        progress.images_seen += config.batch_size
        progress.step += 1
        self.ema.update(self.players["G"].network, progress.images_seen, config.batch_size)
        self._tell({"event": "step", "step": progress.step, "images": progress.images_seen})

    def _play(self, turn: Turn, batch: Batch) -> None:
        """One player moves; what that tells is read at once where reading costs nothing, on a GPU only when it is needed."""
        self._told.append((self.progress.step, turn.player, self.moves.play(turn, batch)))
        if not self._lets_wait or len(self._told) >= _MOST_UNREAD:
            self._read()

    def _read(self) -> None:
        """Read what the moves since the last reading have told, in their order."""
        told, self._told = self._told, []
        if not told:
            return
        rows = torch.cat([moved.told for _, _, moved in told]).tolist()
        for step, player, moved in told:
            (has_moved, *numbers), rows = rows[: len(moved.told)], rows[len(moved.told) :]
            if has_moved:
                self.progress.skipped_in_a_row[player] = 0
                moved.remember()
                self.gauges.add(dict(zip(moved.names, numbers, strict=True)))
            else:
                self._skip(step, player)

    def _skip(self, step: int, player: str) -> None:
        """Note that the weights are as they were; stop when it happens again and again."""
        progress = self.progress
        progress.skipped += 1
        progress.skipped_in_a_row[player] = progress.skipped_in_a_row.get(player, 0) + 1
        self._emit({"event": "skipped", "step": step, "player": player, "reason": "gradient not finite"})
        if progress.skipped_in_a_row[player] >= _MOST_SKIPS:
            raise TrainingDivergedError(
                self._diverged(f"the gradient of {player} was not finite {_MOST_SKIPS} times in a row")
            )

    def _diverged(self, reason: str) -> str:
        self._tick("diverged", reason=reason)
        saved = self.run.checkpoints()
        where = f"the last good checkpoint is {saved[-1]}" if saved else "there is no checkpoint yet"
        return f"training diverged at step {self.progress.step}: {reason}; {where}; {self.game.advice}."

    def _set_schedules(self) -> None:
        config, done, begin = self.config, self._clock().progress, self.config.burn_in
        factor = decay(done, config.decay_from, config.decay) * burn_in(begin.lr, 1.0, done, begin.share)
        for player in self.players.values():
            beta2 = player.config.betas[1]
            first = beta2 if begin.beta2 is None else begin.beta2
            set_schedule(player.optimizer, player.config.lr * factor, burn_in(first, beta2, done, begin.share))

    def _clock(self) -> Clock:
        progress = self.progress
        epoch = progress.images_seen / len(self.data)
        done = min(1.0, progress.step / self.total_steps)  # a rehearsal may play on: past the end the rates stay 0
        return Clock(progress.step, progress.images_seen, done, epoch)

    # What a turn is played with: every draw depends on the seed and its place in the run only.

    @property
    def _layout(self) -> torch.memory_format:
        """How images and weights lie in memory: convolutions are faster with the channels last."""
        return torch.channels_last if len(self.data.shape) == 3 else torch.preserve_format

    def _real_batch(self, number: int) -> tuple[Tensor, Tensor | None]:
        config = self.config
        indices = batch_indices(config.seed, number * config.batch_size, config.batch_size, len(self.data))
        x, y = self.feed.batch(indices)
        return x.contiguous(memory_format=self._layout), y

    def _batch(self, real: tuple[Tensor, Tensor | None], index: int, draws: int = 1) -> Batch:
        config, step, device = self.config, self.progress.step, self.runtime.device
        source = randomness(config.seed, "turn", step, index)
        size, dim = draws * config.batch_size, config.latent_dim
        if config.latents == "spread":
            z = spread_prior(config.prior, step * size, size, dim, derive_seed(config.seed, "spread", index))
        else:
            z = draw_prior(config.prior, size, dim, source)
        return Batch(*real, upload(z, device), source, self._clock(), self._ahead)

    def _ahead(self, player: str) -> Descent:
        return differentiable(self.players[player].optimizer)

    # Cadence.

    def _keep_cadence(self) -> None:
        config, step = self.config, self.progress.step
        last = step >= self.total_steps
        if _due(step, config.log_every, last):
            self._log_row()
        last = last or self.why_stopped is not None
        if _due(step, config.sample_every, last):
            self.draw_samples()
        if self.judge is not None and _due(step, config.eval_every, last):
            self._evaluate(self.judge, last)
        if config.checkpoint_every and step % config.checkpoint_every == 0:
            self._save()

    def _log_row(self) -> None:
        self._read()
        progress = self.progress
        row = {"event": "log", "step": progress.step, "images": progress.images_seen}
        row["epoch"] = progress.images_seen / len(self.data)
        means = self.gauges.read()
        self._emit(row | means)
        near = abs(means.get("D/accuracy", 0.0) - 0.5) <= _NEAR_HALF
        progress.rows_at_equilibrium = progress.rows_at_equilibrium + 1 if near else 0
        self._tick("rate", images=progress.images_seen)

    def draw_samples(self) -> None:
        """Draw the same z as ever; a picture that cannot be written is reported, not fatal."""
        step, path = self.progress.step, self.run.sample_file(self.progress.step)
        if len(self.data.shape) == 3:
            picture = image_grid(self.generate(self.config.seed, 0, _GRID))
        else:
            picture = scatter(self.generate(self.config.seed, 0, _SCATTER), self.data.samples)
        try:
            save_png(picture, path, f"{self.run.name} step {step}")
        except OSError as error:
            self._warn(str(storage_error("a sample grid", path, error)))
        self._emit({"event": "samples", "step": step, "images": self.progress.images_seen, "file": path.name})

    def _evaluate(self, judge: Judge, last: bool) -> None:
        """Score the averaged generator, unless evaluations have had their share of the time; the last one always comes."""
        progress = self.progress
        if not last and not self.stopwatch.has_room(self.config.eval_share):
            self._leave_out_evaluation()
            return
        with self.stopwatch:
            scores = judge.score(lambda first, count: self.generate(EVALUATION_SEED, first, count))
        row: Event = {"event": "eval", "step": progress.step, "images": progress.images_seen}
        row |= {"epoch": progress.images_seen / len(self.data), **_told(scores)}
        if scores.histogram is not None:
            row["histogram"] = list(scores.histogram)
        self._emit(row)
        score = scores.values[judge.primary]
        progress.evaluations_since_best += 1
        if judge.better(score, progress.best_score):
            progress.best_score, progress.best_step, progress.evaluations_since_best = float(score), progress.step, 0
            self._save()
            self._point_to_best()

    def _leave_out_evaluation(self) -> None:
        if not self._left_out:
            share = f"{self.config.eval_share:.0%}"
            self._warn(
                f"evaluations take more than {share} of the time, so some are left out (--eval-share, --eval-samples)"
            )
        self._left_out = True

    def _measure_floor(self) -> None:
        """Score real images in place of generated ones: what a perfect generator would get."""
        if self.judge is not None and self.judge.protocol.split != "train":
            scores = floor(self.data, self.judge)
            self._emit({"event": "floor", "step": 0, **_told(scores)})

    def generate(self, seed: int, first: int, count: int) -> Tensor:
        """Return samples number ``first`` … of the averaged G, from the list of a seed."""
        return generate(self.ema.network, self.config, seed, first, count, self.runtime.device, self.data.scale)

    def _finish(self) -> None:
        """Save the last state; only here is a full disk fatal."""
        if self.why_stopped is not None:
            self._warn(f"stopped at step {self.progress.step}: {self.why_stopped}")
        self._save()
        self._tick("stop")
        if self.unsaved is not None:
            raise storage_error("the last checkpoint", self.run.checkpoints_dir, self.unsaved)
        error = self.log.flush()
        if error is not None:
            raise storage_error("the log", self.run.events_file, error)

    # Saving and restoring.

    def _save(self) -> None:
        """Save a checkpoint; when that fails, training goes on and the next one is tried in its turn."""
        progress = self.progress
        if self.saved_step == progress.step:
            return
        self._read()
        try:
            error = self.log.flush()
            if error is not None:  # a checkpoint must never be newer than its log
                raise error
            save_checkpoint(self.run.checkpoint_dir(progress.step), self._checkpoint())
            best = None if progress.best_step is None else self.run.checkpoint_dir(progress.best_step)
            prune(self.run.checkpoints(), self.config.keep, best)
        except ValueError as error:
            raise TrainingDivergedError(self._diverged(str(error))) from None
        except OSError as error:
            self.unsaved = error
            self._warn(str(storage_error(f"the checkpoint of step {progress.step}", self.run.checkpoints_dir, error)))
        else:
            self.saved_step, self.unsaved = progress.step, None
            self._tick("checkpoint")

    def _point_to_best(self) -> None:
        best = self.progress.best_step
        if best is not None and self.run.checkpoint_dir(best).is_dir():
            try:
                write_atomically(self.run.best_file, f"{best:08d}\n".encode())
            except OSError as error:
                self._warn(str(storage_error("the best checkpoint's name", self.run.best_file, error)))

    def _checkpoint(self) -> Checkpoint:
        parts: dict[str, Tensors] = {"G_ema": self.ema.network.state_dict()}
        parts["gauges"] = {name: torch.tensor(total, dtype=torch.float64) for name, total in self.gauges.sums.items()}
        parts["memory"] = self.game.memory.state_dict()
        for name, player in self.players.items():
            parts[name] = player.network.state_dict()
            parts[f"{name}_optimizer"] = optimizer_tensors(player.optimizer)
        state: dict[str, Any] = asdict(self.progress) | {
            "gauge_counts": self.gauges.counts,
            "log_offset": self.log.offset,
            "shape": list(self.data.shape),
            "scale": self.data.scale,
            "data_sha256": self.data.sha256,
            "total_steps": self.total_steps,
            "machine": self.runtime.fingerprint(),
        }
        return Checkpoint(parts, state)

    def _restore(self, checkpoint: Checkpoint) -> None:
        state, parts = checkpoint.state, checkpoint.parts
        self.progress = Progress(**{name: state[name] for name in asdict(Progress())})
        networks = {"G_ema": self.ema.network, "memory": self.game.memory}
        networks |= {name: player.network for name, player in self.players.items()}
        for name, network in networks.items():
            check_fits(name, parts[name], network.state_dict())
            network.load_state_dict(parts[name])
        for name, player in self.players.items():
            load_optimizer_tensors(player.optimizer, parts[f"{name}_optimizer"])
        self.gauges.counts = dict(state["gauge_counts"])
        self.gauges.sums = {name: float(parts["gauges"][name]) for name in self.gauges.counts}  # in the log's order
        self.saved_step = self.progress.step

    # Telling.

    def _emit(self, event: Event) -> None:
        self.log.append(event)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        for observer in self.observers:
            observer(event)

    def _warn(self, text: str) -> None:
        self._tick("warning", text=text)
        self._tell({"event": "warning", "step": self.progress.step, "text": text})

    def _tick(self, event: str, **more: Any) -> None:
        self.clock.append({"event": event, "time": time.time(), "step": self.progress.step, **more})


def _told(scores: Scores) -> Event:
    """Return scores as an event holds them: values, the ends of their intervals, and the protocol's line."""
    values = {name: float(value) for name, value in scores.values.items()}
    ends = {
        n: [value.low, value.high] for n, value in scores.values.items() if np.isfinite((value.low, value.high)).all()
    }
    return values | {"intervals": ends, "protocol": scores.protocol.short()}


def _due(step: int, every: int, last: bool) -> bool:
    """Return whether a cadence falls on this step: on its multiples and on the last step; 0 is never."""
    return every > 0 and (step % every == 0 or last)
