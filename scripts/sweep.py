"""Search temperature, weights and learning rate: the teacher answers once, and every trial trains a fresh student."""

import sys

from hf_distill.arguments import (
    DataArguments,
    DistillationTrainingArguments,
    ModelArguments,
    SweepArguments,
    TeacherCacheArguments,
)
from hf_distill.cli import exit_on_input_error, parse_arguments, show_progress
from hf_distill.sweep import SweepRun
from hf_distill.sweep.results import RESULTS_PLOT, as_options
from hf_distill.sweep.table import sweep_table


@exit_on_input_error
def main() -> None:
    """Parse, build, train, save."""
    show_progress()
    sweep, models, cache, data, args = parse_arguments(
        (SweepArguments, ModelArguments, TeacherCacheArguments, DataArguments, DistillationTrainingArguments),
        description=__doc__,
    )
    run = SweepRun(models, cache, data, args, sweep)
    results = run.search()
    if args.should_save and results.best is not None:
        sys.stdout.write(
            f"\n{sweep_table(results)}\n"
            f"The plot is {run.folder / RESULTS_PLOT}, the best student is in {run.best_folder}.\n"
            f"For a report, distil it again: scripts/distill_glue.py {as_options(results.arguments(results.best))}\n"
        )


if __name__ == "__main__":
    main()
