"""Optuna's side of a sweep: which values come next, in a file that outlives the process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from hf_distill.errors import InputError, one_line
from hf_distill.sweep.search_space import Range
from hf_distill.sweep.trial import Trial

_SETTINGS = "settings"


class Search:
    """Asks Optuna's TPE sampler (Bergstra et al. 2011, https://papers.nips.cc/paper/4443) for values, trial by trial.

    The sampler is seeded anew for each trial, with the sweep's seed and the trial's number. So a search that is
    killed and opened again draws what it would have drawn without that, the trial that was cut short included.

    Args:
        file: The SQLite database; made if it is not there.
        space: What is searched.
        seed: Of the sweep.
        first: The values of the first trial; None to draw them too.
        settings: What the scores depend on, fit for JSON; kept beside the trials.

    Raises:
        InputError: The file is no database of a sweep.
    """

    def __init__(
        self,
        file: Path,
        space: Mapping[str, Range],
        seed: int,
        first: dict[str, float] | None,
        settings: dict[str, Any],
    ) -> None:
        self._seed, self._first = seed, first
        self._distributions: dict[str, BaseDistribution] = {
            name: FloatDistribution(values.low, values.high, log=values.log) for name, values in space.items()
        }
        self._study = _open_study(file)
        self._study.set_user_attr(_SETTINGS, settings)
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
        self._asked: optuna.Trial | None = None

    @property
    def trials(self) -> list[Trial]:
        """Those that are over, in their order; one that was cut short is not among them."""
        finished = self._study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
        return [
            Trial(number, trial.params, trial.user_attrs["scores"], trial.user_attrs["seconds"])
            for number, trial in enumerate(finished, start=1)
        ]

    def ask(self) -> dict[str, float]:
        """The values of the next trial."""
        number = len(self.trials)
        self._study.sampler = TPESampler(seed=int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0]))
        waits_already = bool(self._study.get_trials(states=(TrialState.WAITING,)))
        if number == 0 and self._first is not None and not waits_already:
            self._study.enqueue_trial(self._first)
        self._asked = self._study.ask(self._distributions)
        return self._asked.params

    def tell(self, trial: Trial) -> None:
        """Record the trial whose values were asked for last."""
        asked = self._asked
        if asked is None:
            raise RuntimeError("No values were asked for.")
        asked.set_user_attr("scores", trial.scores)
        asked.set_user_attr("seconds", trial.seconds)
        if trial.score is None:
            # Unlike a failed one, a pruned trial keeps the sampler away from its values.
            self._study.tell(asked, state=TrialState.PRUNED)
        else:
            self._study.tell(asked, trial.score)


def settings_of(file: Path) -> dict[str, Any] | None:
    """The settings of the search in a file; None if there is none yet.

    Raises:
        InputError: The file is no database of a sweep.
    """
    return _open_study(file).user_attrs.get(_SETTINGS) if file.exists() else None


def _open_study(file: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name="sweep", storage=f"sqlite:///{file}", direction="maximize", load_if_exists=True
        )
    except SQLAlchemyError as error:
        reason = one_line(error).partition(" [SQL:")[0]
        raise InputError(
            f"{str(file)!r} is not the record of a sweep, or is damaged ({reason}); start anew with "
            "--overwrite_output_dir in place of --resume_from_checkpoint, or name another output_dir."
        ) from error
