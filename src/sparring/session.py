"""One run from a wish to its result: config, data, judge, run directory, trainer and report, put together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparring.checkpoint import Checkpoint, load_checkpoint, quarantine, sweep
from sparring.combinations import cautions
from sparring.config import TrainConfig
from sparring.data import Data, open_data
from sparring.errors import CheckpointError, UsageError, unknown_name
from sparring.footprint import in_pieces
from sparring.generator import Generator, stored_config
from sparring.losses import LOSSES, Loss
from sparring.metrics.judge import Judge, build_judge
from sparring.networks import NETWORKS, Network, build_players, refuse_latent_dim, refuse_unfit
from sparring.penalties import PENALTIES
from sparring.presets import PRESETS, preset_for
from sparring.randomness import randomness
from sparring.report import write_report
from sparring.runs import Event, RunDirectory, RunLock, create_run, run_directories, storage_error
from sparring.runtime import Runtime
from sparring.settings import AUTO, differences, merge, resolve
from sparring.tensorboard import TensorBoardLog
from sparring.trainer import EVALUATION_SEED, Observer, Trainer

if TYPE_CHECKING:
    import numpy as np
    import torch

    DataSource = str | Path | torch.Tensor | np.ndarray[Any, Any] | torch.utils.data.Dataset[Any]


@dataclass(frozen=True)
class Run:
    """A training run on disk.

    Attributes:
        directory: its files.
        finished: whether it reached its last step.
        interrupted_by: the signal that ended it early, if one did.
    """

    directory: RunDirectory
    finished: bool
    interrupted_by: int | None = None

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.directory.path

    def generator(self) -> Generator:
        """Return the generator of the best checkpoint, or of the newest where nothing is scored."""
        return Generator(self.path)

    def scores(self) -> Event | None:
        """Return the evaluation of the best checkpoint, or None without evaluations."""
        best = self.directory.best()
        step = int(best.name) if best else -1
        return next((event for event in self.directory.events("eval") if event["step"] == step), None)


def train(
    data: DataSource | None = None,
    *,
    preset: str | None = None,
    config: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    resume: str | Path = "auto",
    observers: tuple[Observer, ...] = (),
    **settings: Any,
) -> Run:
    """Train a GAN, or go on with the same run if it was interrupted.

    Args:
        data: a data set's name, a folder or zip of images, a .npy or .csv file, a tensor or array, or a
            ``torch.utils.data.Dataset``.
        preset: a key of `sparring.presets.PRESETS`; chosen by the data if None.
        config: settings as a nested mapping, as a config file holds them.
        out: the folder of all runs.
        resume: ``"auto"`` goes on with the newest run of the same config, ``"never"`` starts a new one, a path goes on
            with that run or checkpoint.
        observers: called with every event while the run trains.
        settings: fields of `TrainConfig` on top of preset and config: ``steps=2000, loss="hinge", g={"lr": 1e-4}``; a
            `Loss` or `Network` of your own is accepted where a name is.

    Returns:
        The run; its directory has the samples, checkpoints and report.

    Raises:
        UsageError: a setting, the data or the checkpoint cannot be used; one sentence says why.
        TrainingDivergedError: gradients were not finite again and again.
    """
    plan = prepare(data, preset=preset, config=config, out=Path(out), resume=resume, settings=settings)
    run = plan.run
    with _locked(run):
        sweep(run.checkpoints_dir)
        tensorboard = TensorBoardLog(run)
        trainer = build_trainer(plan, (*observers, tensorboard))
        finished, caught = False, []
        try:
            with _signals(trainer) as caught:
                finished = trainer.train()
        finally:
            tensorboard.close()
            _report(run, observers)
    return Run(run, finished, caught[0] if caught else None)


def prepare(
    data: DataSource | None,
    *,
    preset: str | None,
    config: Mapping[str, Any] | None,
    out: Path,
    resume: str | Path,
    settings: Mapping[str, Any],
) -> Plan:
    """Open the data, complete and check the config, and make or find the run directory; see `train`."""
    overrides = merge(config or {}, {name: _named(name, value) for name, value in settings.items()})
    return _plan(data, preset, overrides, out, resume)


def build_trainer(plan: Plan, observers: tuple[Observer, ...]) -> Trainer:
    """Return the trainer of a plan, at the step where it goes on, and tell the observers what is about to start."""
    config, runtime = plan.config, plan.runtime
    judge = _judge(plan) if config.eval_every else None
    trainer = Trainer(config, plan.data, judge, plan.run, runtime, observers, plan.checkpoint)
    opening: Event = {
        "event": "start",
        "step": trainer.progress.step,
        "total_steps": trainer.total_steps,
        "run": str(plan.run.path),
        "machine": runtime.reason + (f", a batch in {config.accumulate} pieces" if config.accumulate > 1 else ""),
        "data": f"{plan.data.name}: {len(plan.data)} samples of {'×'.join(map(str, plan.data.shape))}",
        "left_out": [f"{problem.path}: {problem.reason}" for problem in plan.data.problems],
        "judge": judge.name if judge else None,
        "cautions": list(cautions(config)),
        "exact": plan.checkpoint is None
        or (runtime.device.type == "cpu" and plan.checkpoint.state["machine"] == runtime.fingerprint()),
    }
    for observer in observers:
        observer(opening)
    return trainer


def _judge(plan: Plan) -> Judge | None:
    config = plan.config
    wishes = {"families": config.eval_metrics or None, "features": config.eval_features, "primary": config.best_by}
    judge = build_judge(plan.data, config.eval_samples, EVALUATION_SEED, **wishes)  # type: ignore[arg-type]
    if judge is None and any(wishes.values()):
        raise UsageError(
            f"--eval-features: no extractor at hand knows {plan.data.name}; pip install 'sparring[efficientnet]', or name one "
            "(sparring list extractors)."
        )
    return judge


def _report(run: RunDirectory, observers: tuple[Observer, ...]) -> None:
    try:
        write_report(run)
    except OSError as error:
        warning = {"event": "warning", "text": str(storage_error("the report", run.report_file, error))}
        for observer in observers:
            observer(warning)


def load(path: str | Path, device: str = "cpu") -> Generator:
    """Load a trained generator.

    Args:
        path: a run directory (its best checkpoint, or else its newest) or a checkpoint directory.
        device: where to put the network.

    Raises:
        UsageError: there is no such run or checkpoint, or it is damaged.
    """
    return Generator(Path(path), device)


def plan_config(data: str, preset: str | None, overrides: Mapping[str, Any], *, in_plane: bool = False) -> TrainConfig:
    """Return the complete config for a data set, a preset and settings made by hand.

    Args:
        data: the data's name or path.
        preset: a key of `PRESETS`; chosen by the data if None.
        overrides: settings on top.
        in_plane: whether the samples are points in the plane.

    Raises:
        UsageError: the preset is unknown or a setting is wrong.
    """
    name = preset or overrides.get("preset") or preset_for(data, points_in_plane=in_plane)
    if name not in PRESETS:
        raise UsageError(unknown_name("--preset", name, PRESETS))
    rest = {key: value for key, value in overrides.items() if key not in ("data", "preset")}
    return resolve(PRESETS[name].config(data), rest)


@dataclass(frozen=True)
class Plan:
    """What to train, on what, where, how, and from which state."""

    config: TrainConfig
    data: Data
    run: RunDirectory
    runtime: Runtime
    checkpoint: Checkpoint | None


def _plan(
    data: DataSource | None, preset: str | None, overrides: dict[str, Any], out: Path, resume: str | Path
) -> Plan:
    if str(resume) not in ("auto", "never"):
        return _plan_from_path(Path(resume), data, preset, overrides)
    source = data if data is not None else overrides.get("data")
    if source is None:
        raise UsageError(
            "data: say what to train on: a data set (sparring list data), a folder or zip of images, a .npy or .csv file."
        )
    label = str(source) if isinstance(source, str | Path) else type(source).__name__
    opened = _open(source, plan_config(label, preset, overrides))
    config = plan_config(label, preset, overrides, in_plane=len(opened.shape) == 1)
    refuse_unfit(config.network, opened.shape)
    refuse_latent_dim(config.network, opened.shape, config.latent_dim)
    if config.augment and len(opened.shape) == 1:
        raise UsageError(f"--augment {config.augment[0]}: points cannot be augmented, only images; leave it out.")
    shifting = [name for name in config.penalties if PENALTIES[name].images_only]
    if shifting and len(opened.shape) == 1:
        raise UsageError(f"--penalty {shifting[0]}: it shifts images, and points cannot be shifted; leave it out.")
    if "importance" in config.stabilizers:
        from sparring.stabilizers.importance import refuse_norms

        refuse_norms(build_players(config.network, config.network_spec(opened.shape), randomness(config.seed))[0])
    if overrides.get("batch_size") == AUTO:
        if overrides.get("accumulate") is not None:
            raise UsageError(
                "--batch-size auto and --accumulate both say how many pieces a batch is in; give one of them."
            )
        config = in_pieces(config, opened, Runtime.pick(config))
    if str(resume) == "auto":
        for run in reversed(run_directories(out)):
            if _is_run_of(run, config):
                return _go_on(run, config, opened, None)
    runtime = Runtime.pick(config)  # before the directory is made, so that a wrong device leaves nothing behind
    run = create_run(out, f"{opened.name}-{config.preset}", config.model_dump(mode="json"))
    return Plan(config, opened, run, runtime, None)


def _plan_from_path(path: Path, data: DataSource | None, preset: str | None, overrides: dict[str, Any]) -> Plan:
    """Go on with the run or checkpoint that ``--resume`` names; settings that would change the game are refused."""
    is_checkpoint = (path / "manifest.json").is_file()
    run = RunDirectory(path.resolve().parent.parent if is_checkpoint else path.resolve())
    stored = stored_config(run)
    if preset is not None:
        overrides = {**overrides, "preset": preset}
    if isinstance(data, str | Path):
        overrides = {**overrides, "data": str(data)}
    config = resolve(stored, overrides)
    if config.identity() != stored.identity():
        flag = differences(config, stored)[0]
        raise UsageError(
            f"--resume {path}: {flag} is not what the run was started with; leave it out, or use --resume never."
        )
    source = config.data if data is None else data
    return _go_on(run, config, _open(source, config), path if is_checkpoint else None)


def _go_on(run: RunDirectory, config: TrainConfig, data: Data, chosen: Path | None) -> Plan:
    """Take a run up where its newest sound checkpoint left it, or at a chosen one."""
    checkpoint = load_checkpoint(chosen) if chosen is not None else _newest_sound(run)
    if checkpoint is not None and checkpoint.state["data_sha256"] != data.sha256:
        raise CheckpointError(
            f"the data of {run.path} has changed since it was trained; use --resume never to start anew."
        )
    run.store_config(config.model_dump(mode="json"))  # its length or cadence may be new
    return Plan(config, data, run, Runtime.pick(config), checkpoint)


def _newest_sound(run: RunDirectory) -> Checkpoint | None:
    """Return the newest checkpoint that is whole; damaged ones are set aside, out of the way of the run."""
    for path in reversed(run.checkpoints()):
        try:
            return load_checkpoint(path)
        except CheckpointError:
            quarantine(path)
    return None


def _is_run_of(run: RunDirectory, config: TrainConfig) -> bool:
    try:
        return stored_config(run).identity() == config.identity()
    except UsageError:  # a run of another version, or no run at all
        return False


def open_data_of(config: TrainConfig, data_root: Path | None = None) -> Data:
    """Open the data that a run was trained on.

    Args:
        config: of the run.
        data_root: folder that holds data sets already downloaded; the config's own if None.

    Raises:
        UsageError: it is not there any more, or was an object of a program's.
    """
    return _open(config.data, config, data_root)


def _open(source: DataSource, config: TrainConfig, data_root: Path | None = None) -> Data:
    return open_data(
        source,
        data_root=data_root or config.data_root,
        resolution=config.resolution,
        channels=config.channels,
        fit=config.fit,
        background=config.background,
    )


#: Names that come with sparring, which nobody else's loss or network may take.
_SHIPPED = {"loss": frozenset(LOSSES), "network": frozenset(NETWORKS)}


def _named(field: str, value: Any) -> Any:
    """Put a loss or network of the user's own into its table, and return its name."""
    tables: dict[str, tuple[type[Loss] | type[Network], dict[str, Any]]] = {
        "loss": (Loss, LOSSES),
        "network": (Network, NETWORKS),
    }
    if field not in tables or isinstance(value, str):
        return value
    kind, table = tables[field]
    if not isinstance(value, kind):
        raise UsageError(f"{field}: give a name or a {kind.__name__}, not a {type(value).__name__}.")
    if value.name in _SHIPPED[field] and table[value.name] is not value:
        raise UsageError(f"{field}: the name '{value.name}' is one of sparring's own; give yours another name.")
    table[value.name] = value  # a notebook cell that is run again replaces what it defined before
    return str(value.name)


@contextmanager
def _locked(run: RunDirectory) -> Iterator[None]:
    lock = RunLock(run)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _signals(trainer: Trainer) -> Iterator[list[int]]:
    """Turn the first Ctrl-C or SIGTERM into "finish the step and save"; a second one ends the process at once."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    watched = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, frame: object) -> None:
        caught.append(number)
        trainer.request_stop()
        for other in watched:
            signal.signal(other, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in watched}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
