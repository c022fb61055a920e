"""A whole ablation: trial after trial, shared with other processes, until all are there."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from hf_distill.ablation.bench import Bench, TaskFacts
from hf_distill.ablation.folder import AblationFolder
from hf_distill.ablation.progress import Progress
from hf_distill.ablation.results import AblationResults
from hf_distill.ablation.settings import RunSettings
from hf_distill.ablation.trial import Outcome, Trial
from hf_distill.ablation.variants import chosen_variants
from hf_distill.arguments import (
    AblationArguments,
    DataArguments,
    DistillationTrainingArguments,
    ModelArguments,
    TeacherCacheArguments,
)
from hf_distill.errors import InputError
from hf_distill.many_students import check_many_students, require_packages

logger = logging.get_logger(__name__)

_WAIT_SECONDS = 2.0


class AblationRun:
    """From arguments to tables of variants, tasks and seeds.

    Making one checks the arguments and the scores that are there, loads no model and writes nothing. ``run`` may be
    killed at any moment, and several processes may run at once on the same folder: each takes what no other does.

    Args:
        models: Who teaches and who learns.
        cache: Where the teacher's answers are kept.
        data_arguments: Which rows; the first split to compare on scores the students.
        args: How; all of these are the variant "full".
        ablation: Which variants, tasks and seeds.
        command: What was typed, for the table.

    Raises:
        InputError: Something that was asked for cannot work, or scores that are there were made otherwise.
    """

    def __init__(
        self,
        models: ModelArguments,
        cache: TeacherCacheArguments,
        data_arguments: DataArguments,
        args: DistillationTrainingArguments,
        ablation: AblationArguments,
        command: Sequence[str] = (),
    ) -> None:
        require_packages("An ablation", ("matplotlib",))
        check_many_students("an ablation", args, cache)
        _check_arguments(models, args)
        self.ablation, self.command = ablation, list(command)
        self.folder = AblationFolder(Path(str(args.output_dir)))
        self.folder.check()
        self.seeds = [args.seed + number for number in range(ablation.seeds)]
        base = RunSettings(dataclasses.replace(models, baseline=False), cache, data_arguments, args)
        self.variants = chosen_variants(ablation, base)
        self.bases = _bases(base, ablation)
        self.settings = {
            task: {
                variant.name: own.changed(variant.changes, f"The variant {variant.name!r}")
                for variant in self.variants
            }
            for task, own in self.bases.items()
        }
        self.trials = [
            Trial(task, variant, seed) for seed in self.seeds for task in self.bases for variant in self.variants
        ]
        self._outcomes: dict[Trial, Outcome] = {}
        self._benches: dict[str, Bench] = {}
        self._missing()

    def run(self) -> AblationResults:
        """Train the students that are missing, and keep the tables up to date beside them.

        Raises:
            InputError: Something cannot work, which shows only when models and rows are loaded.
        """
        base = next(iter(self.bases.values()))
        self.folder.begin({"ablation": vars(self.ablation), **base.shaping})
        progress = Progress(len(self.trials), len(self._outcomes))
        while missing := self._missing():
            done = next((trial for trial in missing if self._try(trial)), None)
            if done is None:
                time.sleep(_WAIT_SECONDS)
                continue
            missing = self._missing()
            logger.info(progress.line(done, self._outcomes, missing))
            self._save_tables()
        results = self._save_tables()
        with self.folder.waiting_for("results"):
            results.save_plot(self.folder.path)
        return results

    @property
    def results(self) -> AblationResults:
        """What is there so far."""
        facts = {task: TaskFacts.read(self.folder.path / task) for task in self.bases}
        return AblationResults(
            tasks={task: found for task, found in facts.items() if found is not None},
            variants=[variant.name for variant in self.variants],
            seeds=self.seeds,
            reference=self.ablation.reference,
            outcomes={(trial.task, trial.variant.name, trial.seed): out for trial, out in self._outcomes.items()},
            chooses_best=next(iter(self.bases.values())).args.load_best_model_at_end,
            command=self.command,
        )

    def _save_tables(self) -> AblationResults:
        with self.folder.waiting_for("results"):
            # Another process may have written later results than this one has read.
            self._missing()
            results = self.results
            results.save_tables(self.folder.path)
        return results

    def _missing(self) -> list[Trial]:
        """The students that are not finished; those that another process has finished meanwhile are read."""
        for trial in self.trials:
            if trial not in self._outcomes and (outcome := self.folder.outcome(trial)) is not None:
                self.folder.check_same(trial, outcome, self.settings[trial.task][trial.variant.name])
                self._outcomes[trial] = outcome
        return [trial for trial in self.trials if trial not in self._outcomes]

    def _try(self, trial: Trial) -> bool:
        """Whether the student is finished now by this process; another one may have it, or what it needs."""
        with self.folder.claim(trial.place) as has_trial:
            if not has_trial or self.folder.outcome(trial) is not None:
                return False
            bench = self._prepared(trial)
            if bench is None:
                return False
            outcome = self._trained(trial, bench)
            self.folder.keep(trial, outcome)
            self._outcomes[trial] = outcome
        return True

    def _prepared(self, trial: Trial) -> Bench | None:
        """The bench of the trial's task, with all that the trial needs; None while another process prepares it."""
        with self.folder.claim(f"{trial.task}/shared") as has_it:
            if not has_it:
                return None
            if trial.task not in self._benches:
                folder = self.folder.path / trial.task
                folder.mkdir(parents=True, exist_ok=True)
                self._benches[trial.task] = Bench(folder, self.bases[trial.task], self.settings[trial.task])
            bench = self._benches[trial.task]
            bench.taught(self.bases[trial.task])
            bench.taught(self.settings[trial.task][trial.variant.name])
        return bench

    def _trained(self, trial: Trial, bench: Bench) -> Outcome:
        settings, started = self.settings[trial.task][trial.variant.name].shaping, time.perf_counter()
        score, steps = None, None
        with self.folder.scratch(trial) as scratch:
            try:
                trained = bench.train(trial.variant.name, trial.variant.changes, trial.seed, scratch)
                score, steps = trained.score if math.isfinite(trained.score) else None, trained.steps
            except FloatingPointError as error:
                logger.warning(f"({trial}) diverged: {error}")
        return Outcome(score, steps, round(time.perf_counter() - started, 1), settings)


def _bases(base: RunSettings, ablation: AblationArguments) -> dict[str, RunSettings]:
    if ablation.tasks is None:
        data = base.data
        name = data.task_name or data.dataset_name or Path(str(data.train_file)).stem
        return {name.replace("/", "-"): base}
    settings = ablation.task_settings or {}
    return {
        task: base.changed({"task_name": task, **settings.get(task, {})}, f"The task {task!r}")
        for task in ablation.tasks
    }


def _check_arguments(models: ModelArguments, args: DistillationTrainingArguments) -> None:
    if args.world_size > 1:
        raise InputError(
            f"There are {args.world_size} processes that train together, and an ablation trains each student in one; "
            "start the script several times on the same output_dir, each with a GPU of its own."
        )
    if len(models.teacher_names) > 1:
        raise InputError(
            f"There are {len(models.teacher_names)} teachers, and an ablation compares with one; name a single one."
        )
    if args.overwrite_output_dir:
        raise InputError(
            "overwrite_output_dir is set, and other processes may share the folder of an ablation, so it is never "
            "cleared; remove it yourself, or name another output_dir."
        )
