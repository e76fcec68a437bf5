"""A player's move: the payoff of a turn, its gradient, and the step, called off where a number is not finite.

Nothing here waits for the device or decides by what it has computed, so moves follow each other without a pause, and a whole
move can be recorded once and replayed (`sparring.fast.recording`): on a GPU launching its thousand small kernels one by one
takes longer than computing them.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from sparring.fast.recording import Recorder, Recording, recorder_for
from sparring.games import Batch, Game, Payoff, Turn
from sparring.optim import laid_out_like, step_unless
from sparring.players import Player
from sparring.runtime import Runtime
from sparring.turns import pieces

#: Moves of a kind that are played before it is recorded: libraries choose and load their kernels in them.
_WARM_UP = 3
#: A kind that changes from step to step, as in a burn-in, is not worth a recording; when so many have been met, none is made.
_MOST_KINDS = 64


@dataclass(frozen=True)
class Moved:
    """What a move tells.

    Attributes:
        names: of its numbers, ``"D/loss"``, ``"D/grad_norm"``, …
        told: float32 [1 + len(names)] on the device: 1 if the player has moved, 0 if a number was not finite and everything
            is as before; then the number of each name.
        remember: what the game keeps for later turns, to be called if the player has moved.
    """

    names: tuple[str, ...]
    told: Tensor
    remember: Callable[[], None]


class Moves:
    """Moves the players of a game, one turn at a time."""

    def __init__(
        self,
        game: Game,
        players: dict[str, Player],
        runtime: Runtime,
        accumulate: int = 1,
        warn: Callable[[str], None] = lambda text: None,
        recorder: Recorder | None = None,
    ) -> None:
        """Take over the players.

        Args:
            game: whose turns are played.
            players: its players by name.
            runtime: how networks compute, and whether turns are recorded.
            accumulate: pieces a batch is differentiated in.
            warn: told in a sentence when a turn cannot be recorded.
            recorder: what records a move; None for the device's own.
        """
        self.game, self.players, self.runtime, self.accumulate = game, players, runtime, accumulate
        self._warn, self._record = warn, recorder or recorder_for(runtime.device)
        self._remembers = bool(list(game.memory.children()))
        self._met: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, _Replayed | None] = {}

    def play(self, turn: Turn, batch: Batch) -> Moved:
        """Let a player move; everyone else is left equal to the bit.

        Args:
            turn: whose, and what of.
            batch: what it is played with.
        """
        kind = self._kind(turn, batch)
        if kind is None:
            return self._move(turn, batch)
        replayed = self._recordings.get(kind)
        if replayed is not None:
            return replayed.play(batch)
        self._met[kind] += 1
        if self._met[kind] < _WARM_UP or kind in self._recordings or len(self._met) > _MOST_KINDS:
            return self._move(turn, batch)
        return self._move_and_record(kind, turn, batch)

    def _kind(self, turn: Turn, batch: Batch) -> Hashable | None:
        """Return what turns have in common that one recording serves for, or None where each is played by itself.

        A recording repeats what was launched, so it cannot follow what is decided on the host: a stabilizer that remembers,
        a batch in pieces, an optimizer whose steps cannot be called off on the device.
        """
        player = self.players[turn.player]
        steady = self.runtime.records and not self._remembers and self.accumulate == 1
        if not steady or player.config.optimizer != "adam":
            return None
        beta2 = player.optimizer.param_groups[0]["betas"][1]
        return turn.player, turn.exact, turn.constants, beta2, tuple(batch.x_real.shape), batch.y is None

    def _move_and_record(self, kind: Hashable, turn: Turn, batch: Batch) -> Moved:
        """Move, and record the same move; keep the recording if it does the same from where the move began."""
        self._recordings[kind] = None
        state = self._state(turn.player)
        before = [value.clone() for value in state]
        drawn = batch.source.get_state()
        moved = self._move(turn, batch)
        if not torch.equal(drawn, batch.source.get_state()):
            return moved  # random numbers of the host differ from turn to turn
        after = [value.clone() for value in state]
        try:
            replayed = _Replayed(self._record, lambda fixed: self._move(turn, fixed), batch)
            _put(state, before)
            again = replayed.play(batch)
            same = _agree(moved.told, again.told) and all(
                _is_same_step(old, ours, theirs) for old, ours, theirs in zip(before, state, after, strict=True)
            )
            problem = None if same else "a recording of it gave other numbers"
        except (RuntimeError, AttributeError, TypeError) as error:
            problem = " ".join(str(error).split("\n")[0].split())
        _put(state, after)
        if problem is None:
            self._recordings[kind] = replayed
        else:
            self._warn(f"turns of {turn.player} are launched kernel by kernel, which takes longer: {problem}")
        return moved

    def _state(self, player: str) -> list[Tensor]:
        """Return every tensor that a move of the player may write to."""
        network, optimizer = self.players[player].network, self.players[player].optimizer
        moments = [value for entry in optimizer.state.values() for value in entry.values() if isinstance(value, Tensor)]
        return [*network.state_dict().values(), *moments]

    def _move(self, turn: Turn, batch: Batch) -> Moved:
        player = self.players[turn.player]
        buffers = list(player.network.buffers())
        before = [buffer.clone() for buffer in buffers]
        payoffs, gradients = [], None
        for piece in pieces(batch, self.accumulate):
            payoff, slopes = self._differentiate(turn, player, piece)
            payoffs.append(payoff)
            gradients = slopes if gradients is None else torch._foreach_add(gradients, slopes)
        assert gradients is not None
        gradients = torch._foreach_div(gradients, len(payoffs)) if len(payoffs) > 1 else gradients
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        numbers = _numbers(payoffs, norm)
        lost = ~(norm.isfinite() & numbers["loss"].isfinite())
        for buffer, old in zip(buffers, before, strict=True):
            buffer.copy_(torch.where(lost, old, buffer))
        if player.config.clip_grad is not None:
            gradients = torch._foreach_mul(gradients, (player.config.clip_grad / norm).clamp_max(1.0))
        for parameter, gradient in zip(player.parameters, gradients, strict=True):
            parameter.grad = laid_out_like(gradient, parameter)
        step_unless(lost, player.optimizer)
        if turn.player in self.game.after_turn:
            self.game.after_turn[turn.player](player.network)
        told = torch.stack([(~lost).float(), *(number.float() for number in numbers.values())])
        # without stabilizers nothing is remembered, and moves that wait to be read need not keep their batches
        remember = partial(_remember, payoffs) if self._remembers else _nothing
        return Moved(tuple(f"{turn.player}/{name}" for name in numbers), told, remember)

    def _differentiate(self, turn: Turn, player: Player, batch: Batch) -> tuple[Payoff, tuple[Tensor, ...]]:
        """Play a turn and return the payoff and the gradients of its mean loss by the player's parameters."""
        with self._others_still(turn.player), self.runtime.arithmetic(exact=turn.exact):
            payoff = turn.play(batch)
        loss = torch.stack([term.mean() for term in payoff.terms.values()]).sum()
        return payoff, torch.autograd.grad(loss, player.parameters)

    @contextlib.contextmanager
    def _others_still(self, moving: str) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name, player in self.players.items():
                if name != moving:
                    stack.enter_context(player.still())
            yield


class _Replayed:
    """A recorded move, with the memory that it reads its batch from."""

    def __init__(self, recorder: Recorder, move: Callable[[Batch], Moved], batch: Batch) -> None:
        self._given = [value.clone() for value in _tensors(batch)]
        x_real, z, *y = self._given
        # What a recording could not follow is withheld, so that a turn that looks at it fails here and not in silence.
        fixed = replace(batch, x_real=x_real, z=z, y=y[0] if y else None, source=None, clock=None, ahead=None)  # type: ignore[arg-type]
        self._names: tuple[str, ...] = ()
        self._told = torch.empty(0)

        def run() -> None:
            moved = move(fixed)
            self._names, self._told = moved.names, moved.told

        self._recording: Recording = recorder(run)

    def play(self, batch: Batch) -> Moved:
        torch._foreach_copy_(self._given, _tensors(batch))
        self._recording()
        return Moved(self._names, self._told.clone(), _nothing)


def _tensors(batch: Batch) -> list[Tensor]:
    return [batch.x_real, batch.z, *([] if batch.y is None else [batch.y])]


def _put(state: list[Tensor], values: list[Tensor]) -> None:
    with torch.no_grad():
        for tensor, value in zip(state, values, strict=True):
            tensor.copy_(value)


def _agree(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=0.01, atol=1e-4, equal_nan=True)


def _is_same_step(before: Tensor, ours: Tensor, theirs: Tensor) -> bool:
    """Return whether two moves from one place end at one place, but for sums that were added in another order."""
    if not before.is_floating_point():
        return torch.equal(ours, theirs)
    step = (theirs - before).norm()
    return bool((ours - theirs).norm() <= 0.05 * step + 1e-6 * before.norm())


def _numbers(payoffs: list[Payoff], norm: Tensor) -> dict[str, Tensor]:
    """Return what the log shows of a move, each ``[]``: the loss, its terms where there are several, and the signals."""
    terms = {name: torch.stack([p.terms[name].detach().mean() for p in payoffs]).mean() for name in payoffs[0].terms}
    signals = {name: torch.stack([p.signals[name].mean() for p in payoffs]).mean() for name in payoffs[0].signals}
    loss = torch.stack(list(terms.values())).sum()
    return {"loss": loss, "grad_norm": norm} | (terms if len(terms) > 1 else {}) | signals


def _nothing() -> None:
    """Remember nothing."""


def _remember(payoffs: list[Payoff]) -> None:
    for payoff in payoffs:
        payoff.remember()
