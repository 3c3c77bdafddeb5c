"""The training loop that every step shares: one process per core, averaged gradients, an average of weights, resuming.

Two processes of one thread each are about twice as fast on two cores as one process of two threads: the layers are so
small that sharing one of them between threads costs more than it saves.

Every random choice of step k in process r comes from (seed, k, r). So a run that was interrupted goes on with the very
choices that it would have made, and no generator's state has to be kept.
"""

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn


@dataclass(frozen=True)
class Plan:
    """How one model is trained.

    steps: length of the run; the learning rate falls to 2 % over it.
    minutes: if given, the run and its learning rate follow the clock instead (time of interrupted runs is counted in).
    average: how much of the averaged weights is kept at each step, once the run is well under way.
    save_every_s: seconds between two checkpoints.
    """

    checkpoint: Path
    steps: int
    learning_rate: float
    minutes: float | None = None
    warm_up_steps: int = 200
    weight_decay: float = 1e-2
    beta2: float = 0.98
    average: float = 0.998
    save_every_s: float = 120.0
    seed: int = 0


@dataclass(frozen=True)
class Worker:
    """This process among those that train together."""

    rank: int
    world: int

    @property
    def is_first(self) -> bool:
        """Whether this is the process that logs and saves."""
        return self.rank == 0


def run_workers(work: Callable[..., None], world: int, *args: object) -> None:
    """Runs `work(worker, *args)` in `world` single-threaded processes and waits for all of them.

    Raises the first process's error, after the others were ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        spawn(_start_worker, args=(world, f"file://{folder}/rendezvous", work, args), nprocs=world)


def _start_worker(rank: int, world: int, rendezvous: str, work: Callable[..., None], args: tuple[object, ...]) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
    try:
        work(Worker(rank, world), *args)
        dist.barrier()
    finally:
        dist.destroy_process_group()


class Loop:
    """Trains `model` (and `helper`, which is thrown away afterwards) by the plan.

    Use: `for draw in loop.draws(): ... loop.update(loss)`. The model in the processes starts as process 0 made it.
    """

    def __init__(self, worker: Worker, plan: Plan, model: nn.Module, helper: nn.Module | None = None) -> None:
        self.worker, self.plan, self.model = worker, plan, model
        self._all = nn.ModuleList([model] if helper is None else [model, helper])
        self._parameters = [p for p in self._all.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=plan.learning_rate, betas=(0.9, plan.beta2), weight_decay=plan.weight_decay
        )
        self.step = 0
        self._elapsed_s = 0.0
        self._began = time.monotonic()
        self._sums: dict[str, float] = {}
        self._counted = 0
        for tensor in self._all.state_dict().values():
            dist.broadcast(tensor, 0)
        self.averaged = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        if plan.checkpoint.exists():
            self._load()

    def draws(self, on_checkpoint: Callable[["Loop"], None] | None = None) -> Iterator["Draw"]:
        """Yields the random choices of each step until the run's end; saves on the way and at the end.

        on_checkpoint: called in process 0 after each save, with the averaged weights in the model.
        """
        self.model.train()
        self._began = time.monotonic()
        last_save = last_report = self._began
        while True:
            progress = self._progress()
            if progress >= 1:
                break
            for group in self._optimizer.param_groups:
                group["lr"] = self.plan.learning_rate * self._rate(progress)
            yield Draw(self.plan.seed, self.step, self.worker.rank)
            if not self.worker.is_first:
                continue
            now = time.monotonic()
            if now - last_report > 30:
                last_report = now
                self._report(progress)
            if now - last_save > self.plan.save_every_s:
                last_save = now
                self._save(on_checkpoint)
        if self.worker.is_first:
            self._save(on_checkpoint)
        self.model.load_state_dict(self.averaged)
        self.model.eval()

    def update(self, loss: torch.Tensor, **seen: float) -> None:
        """Does one step of the optimizer with the gradients of all processes; `seen` are figures for the log."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.worker.world > 1:
            self._average_gradients()
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self.step += 1
        self._counted += 1
        for name, value in seen.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if self.worker.is_first:
            keep = min(self.plan.average, self.step / (self.step + 30))
            pairs = [(self.averaged[k], v) for k, v in self.model.state_dict().items() if v.is_floating_point()]
            with torch.no_grad():
                torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1 - keep)

    def _average_gradients(self) -> None:
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= self.worker.world
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _progress(self) -> float:
        if self.plan.minutes is None:
            return self.step / self.plan.steps
        # All processes must agree on the last step, so the first one's clock counts.
        clock = torch.tensor([self._elapsed_s + time.monotonic() - self._began])
        dist.broadcast(clock, 0)
        return float(clock) / (60 * self.plan.minutes)

    def _rate(self, progress: float) -> float:
        warm_up = min(1.0, (self.step + 1) / self.plan.warm_up_steps)
        # Flat over the first two fifths, then a cosine.
        fall = min(1.0, 0.8 * (1 + math.cos(math.pi * progress)))
        return warm_up * (0.98 * fall + 0.02)

    def _report(self, progress: float) -> None:
        figures = "  ".join(f"{name} {total / max(1, self._counted):.4f}" for name, total in self._sums.items())
        spent = (self._elapsed_s + time.monotonic() - self._began) / 60
        print(f"  step {self.step}  {100 * progress:.0f} %  {spent:.1f} min  {figures}", flush=True)
        self._sums, self._counted = {}, 0

    def _save(self, on_checkpoint: Callable[["Loop"], None] | None) -> None:
        content = {
            "all": self._all.state_dict(),
            "averaged": self.averaged,
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self._elapsed_s + time.monotonic() - self._began,
        }
        save_whole(content, self.plan.checkpoint)
        if on_checkpoint is not None:
            current = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self.model.load_state_dict(self.averaged)
            self.model.eval()
            with torch.no_grad():
                on_checkpoint(self)
            self.model.load_state_dict(current)
            self.model.train()

    def _load(self) -> None:
        content = torch.load(self.plan.checkpoint, weights_only=True)
        self._all.load_state_dict(content["all"])
        self._optimizer.load_state_dict(content["optimizer"])
        self.averaged = content["averaged"]
        self.step, self._elapsed_s = content["step"], content["elapsed_s"]
        if self.worker.is_first:
            print(f"  going on from step {self.step} ({self._elapsed_s / 60:.1f} min)", flush=True)


class Draw:
    """The random choices of one step of one process."""

    def __init__(self, seed: int, step: int, rank: int) -> None:
        self.shared = np.random.default_rng((seed, step))
        self.own = np.random.default_rng((seed, step, rank + 1))
        self.torch = torch.Generator().manual_seed(int(self.own.integers(2**62)))


def save_whole(content: object, path: Path) -> None:
    """Writes with torch.save beside the target and renames, so that the target is never half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(content, part)
    part.replace(path)
