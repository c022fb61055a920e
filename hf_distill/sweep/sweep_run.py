"""A whole sweep: the teacher answers once, and trial after trial a fresh copy of the student learns from that."""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil
import time
from pathlib import Path

from datasets import Dataset
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from hf_distill.arguments import (
    DataArguments,
    DistillationTrainingArguments,
    ModelArguments,
    SweepArguments,
    TeacherCacheArguments,
)
from hf_distill.errors import InputError
from hf_distill.many_students import (
    changes_for_trial,
    check_many_students,
    require_packages,
    train_and_score,
)
from hf_distill.several_processes import decided_by_main
from hf_distill.sweep.results import RESULTS_JSON, RESULTS_PLOT, RESULTS_TABLE, SweepResults, training_values
from hf_distill.sweep.search_space import own_values, search_space
from hf_distill.sweep.settings import check_same_sweep, sweep_settings
from hf_distill.sweep.table import shown_score
from hf_distill.sweep.trial import Trial
from hf_distill.tasks.task import REGRESSION
from hf_distill.workflow.distillation_run import DistillationRun

logger = logging.get_logger(__name__)

SEARCH_FILE = "sweep.db"
BEST_FOLDER = "best"
_TRIAL_FOLDER = "trial-{}"


class SweepRun:
    """From arguments to a table of trials and the best student.

    Making one loads and checks everything and writes nothing. ``search`` may be killed at any moment; with
    ``resume_from_checkpoint`` another one goes on with the trials that are missing, the one that was cut short first.

    Args:
        models: Who teaches and who learns. Every trial's student starts from the same weights.
        cache: Where the teacher's answers are kept.
        data_arguments: Which rows; the first split to compare on scores the trials.
        args: All of the training that is not searched.
        sweep: What is searched.

    Raises:
        InputError: Something that was asked for cannot work.
    """

    def __init__(
        self,
        models: ModelArguments,
        cache: TeacherCacheArguments,
        data_arguments: DataArguments,
        args: DistillationTrainingArguments,
        sweep: SweepArguments,
    ) -> None:
        require_packages("A sweep", ("optuna", "matplotlib"))
        check_many_students("a sweep", args, cache)
        if args.stages:
            raise InputError(
                "stages are set, each with weights of its own, which a sweep would search beside; leave stages out, "
                "or compare variants with scripts/ablation.py."
            )
        if models.baseline:
            logger.warning("A sweep trains no baseline: a soft_target_weight of 0 is a student without its teacher.")
            models = dataclasses.replace(models, baseline=False)
        if cache.teacher_cache_dir is None:
            cache = dataclasses.replace(cache, teacher_cache_dir="true")
        self.run = DistillationRun(models, data_arguments, args, cache)
        self.args, self.sweep = args, sweep
        self.folder, self.best_folder = self.run.folder, self.run.folder / BEST_FOLDER
        self.space = search_space(sweep)
        self.results, self._eval_rows = self._no_results_yet()
        task = self.run.data.task
        self._settings = sweep_settings(sweep, args, task)
        if task.problem_type == REGRESSION and not self.space["temperature"].is_fixed:
            logger.warning(
                "Scores of a regression have no temperature, so it is searched in vain; keep it fixed with "
                "--temperature_range 1 1."
            )
        if args.resume_from_checkpoint:
            decided_by_main(self._check_resumed_sweep)

    def _no_results_yet(self) -> tuple[SweepResults, Dataset]:
        data = self.run.data
        split, rows = next(iter(data.evaluation.items()))
        results = SweepResults(
            task=data.task.name,
            metric=data.task.primary_metric,
            split=split,
            rows=len(rows),
            seeds=[self.args.seed + number for number in range(self.sweep.trial_seeds)],
            learning_rate=self.args.learning_rate,
            space=self.space,
            trials=[],
        )
        return results, rows

    def search(self) -> SweepResults:
        """Run the trials that are missing, and leave the best student with its tokenizer in ``best_folder``.

        Raises:
            InputError: No trial gave a score.
        """
        self.run.get_teacher_ready()
        trials = self.results.trials
        trials += decided_by_main(self._open_search)
        while len(trials) < self.sweep.n_trials:
            number = len(trials) + 1
            trials.append(self._run_trial(number, decided_by_main(self._ask)))
            decided_by_main(self._record)
            logger.info(self._progress(trials[-1]))
        if self.results.best is None:
            raise InputError(
                f"None of {self.sweep.n_trials} trials gave a score, because all diverged or had no defined "
                f"{self.results.metric}; lower the learning rate, or give more rows."
            )
        return self.results

    def _check_resumed_sweep(self) -> None:
        from hf_distill.sweep.search import settings_of

        old = settings_of(self.folder / SEARCH_FILE)
        if old is not None:
            check_same_sweep(old, self._settings, str(self.folder))

    # ---- On the main process alone ----

    def _open_search(self) -> list[Trial]:
        """The trials on record; a sweep that is not resumed clears what an overwritten one left."""
        from hf_distill.sweep.search import Search

        if not self.args.resume_from_checkpoint:
            # SQLite's own journal too, which a killed process leaves.
            written = [RESULTS_JSON, RESULTS_TABLE, RESULTS_PLOT]
            for path in [*self.folder.glob(f"{SEARCH_FILE}*"), *(self.folder / name for name in written)]:
                path.unlink(missing_ok=True)
            shutil.rmtree(self.best_folder, ignore_errors=True)
        first = own_values(self.args, self.space)
        self._search = Search(self.folder / SEARCH_FILE, self.space, self.args.seed, first, self._settings)
        results = dataclasses.replace(self.results, trials=self._search.trials)
        self._tidy(results)
        return results.trials

    def _ask(self) -> dict[str, float]:
        return self._search.ask()

    def _record(self) -> None:
        self._search.tell(self.results.trials[-1])
        self._tidy(self.results)

    def _tidy(self, results: SweepResults) -> None:
        """Write the results, move the best trial's student of the first seed to its place, and drop all others.

        The trial is on record by then. A process killed in here leaves the student where the next one finds it.
        """
        results.save(self.folder)
        if results.best is not None:
            student = self._student_folder(results.best.number, results.seeds[0])
            if student.is_dir():
                for checkpoint in student.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
                    shutil.rmtree(checkpoint)
                shutil.rmtree(self.best_folder, ignore_errors=True)
                student.rename(self.best_folder)
        for folder in self.folder.glob(_TRIAL_FOLDER.format("*")):
            shutil.rmtree(folder)

    # ---- On all processes ----

    def _run_trial(self, number: int, values: dict[str, float]) -> Trial:
        started = time.perf_counter()
        scores = []
        try:
            for seed in self.results.seeds:
                scores.append(self._train_and_score(number, values, seed))
        except FloatingPointError as error:
            logger.warning(f"Trial {number} diverged: {error}")
            scores = []
        if not all(map(math.isfinite, scores)):
            scores = []
        return Trial(number, values, scores, round(time.perf_counter() - started, 1))

    def _train_and_score(self, number: int, values: dict[str, float], seed: int) -> float:
        student = copy.deepcopy(self.run.student)
        changes = {**training_values(values), **changes_for_trial(self.args, self._student_folder(number, seed), seed)}
        args = dataclasses.replace(self.args, **changes)
        run, metric = self.run, self.results.metric
        trained = train_and_score(
            student, args, run.training_data, run.tokenizer, run.teacher, self._eval_rows, metric
        )
        return trained.score

    def _student_folder(self, number: int, seed: int) -> Path:
        return self.folder / _TRIAL_FOLDER.format(number) / f"seed-{seed}"

    def _progress(self, trial: Trial) -> str:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in trial.values.items())
        outcome = f"{self.results.metric} {shown_score(self.results, trial)}" if trial.scores else "no score"
        best = self.results.best
        record = f"; best so far {best.score:.4f} (trial {best.number})" if best is not None else ""
        return f"Trial {trial.number} of {self.sweep.n_trials}: {shown}: {outcome} in {trial.seconds:.1f} s{record}"
