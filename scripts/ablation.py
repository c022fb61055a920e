"""Does it help? Train variants of a run, on several tasks and with several seeds, and compare them.

Run the same command again to go on after an interruption, and several times at once to share the work.
"""

import sys

from hf_distill.ablation import AblationRun
from hf_distill.ablation.results import RESULTS_PLOT
from hf_distill.ablation.table import ablation_tables
from hf_distill.arguments import (
    AblationArguments,
    DataArguments,
    DistillationTrainingArguments,
    ModelArguments,
    TeacherCacheArguments,
)
from hf_distill.cli import exit_on_input_error, parse_arguments, show_progress


@exit_on_input_error
def main() -> None:
    """Parse, build, train, save."""
    show_progress()
    ablation, models, cache, data, args = parse_arguments(
        (AblationArguments, ModelArguments, TeacherCacheArguments, DataArguments, DistillationTrainingArguments),
        description=__doc__,
    )
    run = AblationRun(models, cache, data, args, ablation, command=["python", *sys.argv])
    results = run.run()
    sys.stdout.write(f"\n{ablation_tables(results)}\nThe plot is {run.folder.path / RESULTS_PLOT}.\n")


if __name__ == "__main__":
    main()
