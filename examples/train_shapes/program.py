"""The command line: `make` trains and exports the model step by step, `evaluate` scores model folders."""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .diffusion import encode_scenes, train_diffusion
from .evaluate import STANDARD_SETTINGS, Setting, evaluate_folders, write_sheet
from .export import export_model
from .loop import Plan, run_workers
from .text import train_text
from .tokens import write_vocabulary
from .train_vae import draw_pictures, train_vae


@dataclass(frozen=True)
class Settings:
    """What a run depends on. A run that goes on must have the same."""

    seed: int
    processes: int
    minutes: float | None


class Run:
    """The steps of `make` and the files between them, all in one work folder."""

    def __init__(self, out: Path, work: Path, settings: Settings) -> None:
        self.out, self.work, self.settings = out, work, settings
        self.pictures, self.tokenizer = work / "pictures.npy", work / "tokenizer"
        self.vae, self.text = work / "vae.pt", work / "text.pt"
        self.latents, self.diffusion = work / "latents.pt", work / "diffusion.pt"

    def steps(self) -> dict[str, Callable[[], None]]:
        """The steps by name, in their order."""
        return {
            "vocabulary": lambda: write_vocabulary(self.tokenizer, self.settings.seed),
            "pictures": lambda: np.save(self.pictures, draw_pictures(self.settings.seed)),
            "vae": self._train_vae,
            "text": self._train_text,
            "latents": lambda: encode_scenes(self.tokenizer, self.vae, self.latents, self.settings.seed + 1),
            "diffusion": self._train_diffusion,
            "export": lambda: export_model(self.tokenizer, self.vae, self.diffusion, self.out),
            "evaluate": lambda: print(evaluate_folders([self.out], STANDARD_SETTINGS, 100)),
        }

    def go(self, until: str | None) -> None:
        """Does every step that is not done yet, in order, up to and with `until`."""
        steps = self.steps()
        if until is not None and until not in steps:
            raise SystemExit(f'--until: there is no step "{until}"; the steps are {", ".join(steps)}')
        if self.out.exists() and any(self.out.iterdir()) and not (self.out / "model_index.json").exists():
            raise SystemExit(
                f"--out: {self.out} holds something that is no model; name a new folder, or empty it first"
            )
        self._check_settings()
        for name, step in steps.items():
            done = self.work / f"{name}.done"
            if done.exists():
                print(f"{name}: done before", flush=True)
            else:
                print(f"{name} ...", flush=True)
                began = time.monotonic()
                step()
                spent = time.monotonic() - began
                done.write_text(f"{spent:.0f} s\n", encoding="utf-8")
                print(f"{name}: {spent:.0f} s", flush=True)
            if name == until:
                break

    def _check_settings(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        file = self.work / "settings.json"
        given = asdict(self.settings)
        if not file.exists():
            file.write_text(json.dumps(given), encoding="utf-8")
        before = json.loads(file.read_text(encoding="utf-8"))
        if before != given:
            raise SystemExit(
                f"{file}: this run was begun with {before}, now it is {given}. "
                "Give the same options to go on, or delete the folder to begin anew."
            )

    def _plan(self, name: str, steps: int, share: float, rate: float, save_every_s: float = 120) -> Plan:
        minutes = self.settings.minutes
        return Plan(
            checkpoint=self.work / f"{name}.checkpoint",
            steps=steps,
            minutes=None if minutes is None else share * minutes,
            learning_rate=rate,
            save_every_s=save_every_s,
            seed=self.settings.seed,
        )

    def _train_vae(self) -> None:
        plan = self._plan("vae", steps=7000, share=0.12, rate=2e-3)
        run_workers(train_vae, self.settings.processes, plan, self.pictures, self.vae)

    def _train_text(self) -> None:
        plan = self._plan("text", steps=1000, share=0.03, rate=1e-3)
        run_workers(train_text, self.settings.processes, plan, self.tokenizer, self.text)

    def _train_diffusion(self) -> None:
        plan = self._plan("diffusion", steps=7000, share=0.85, rate=1e-3, save_every_s=300)
        files = (self.tokenizer, self.vae, self.text, self.latents, self.diffusion)
        run_workers(train_diffusion, self.settings.processes, plan, *files)


def parse_setting(text: str) -> Setting:
    """Reads "STEPS,GUIDANCE" or "STEPS,GUIDANCE,WIDTHxHEIGHT"."""
    try:
        steps, guidance, *rest = text.split(",")
        width, height = rest[0].split("x") if rest else ("64", "64")
        return Setting(int(steps), float(guidance), int(width), int(height))
    except (ValueError, IndexError):
        raise argparse.ArgumentTypeError(f'"{text}" is not like 20,3.5 or 20,3.5,96x96') from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    make = commands.add_parser("make", help="train and export the model; goes on where it was interrupted")
    make.add_argument("--out", type=Path, required=True, help="the model folder to write")
    make.add_argument("--work", type=Path, help="folder for all between (default: OUT.work); delete it to begin anew")
    make.add_argument(
        "--minutes", type=float, help="time for the training by the clock (default: a fixed number of steps)"
    )
    make.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="one core each (default: 2)")
    make.add_argument("--seed", type=int, default=0)
    make.add_argument("--until", help="stop after this step (the program prints their names)")

    score = commands.add_parser("evaluate", help="score model folders through OpenVINO GenAI")
    score.add_argument("models", type=Path, nargs="+", metavar="MODEL")
    score.add_argument("--count", type=int, default=100, help="captions for each setting (default: 100)")
    score.add_argument(
        "--setting", type=parse_setting, action="append", help="STEPS,GUIDANCE[,WIDTHxHEIGHT]; may be given again"
    )
    score.add_argument("--sheet", type=Path, help="also write a picture with some captions drawn by each model")

    options = parser.parse_args(arguments)
    if options.command == "make":
        work = options.work or options.out.with_name(options.out.name + ".work")
        try:
            Run(options.out, work, Settings(options.seed, options.processes, options.minutes)).go(options.until)
        except KeyboardInterrupt:
            raise SystemExit("interrupted; the same command goes on from the last checkpoint") from None
    else:
        print(evaluate_folders(options.models, options.setting or STANDARD_SETTINGS, options.count))
        if options.sheet:
            write_sheet(options.models, options.sheet)
    return 0
