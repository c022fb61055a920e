"""Distil a teacher into a student on a GLUE task or on texts of your own, and compare the two."""

import sys

from transformers import pipeline

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.cli import exit_on_input_error, parse_arguments, show_progress
from hf_distill.workflow.data import shown_example
from hf_distill.workflow.distillation_run import DistillationRun


@exit_on_input_error
def main() -> None:
    """Parse, build, train, save."""
    show_progress()
    models, cache, data, args = parse_arguments(
        (ModelArguments, TeacherCacheArguments, DataArguments, DistillationTrainingArguments), description=__doc__
    )
    run = DistillationRun(models, data, args, cache)
    run.distil()
    report = run.report()
    if args.should_save:
        sys.stdout.write(f"\n{report.summary()}\n")
    run.publication.publish(run.folder)
    if args.should_save:
        example = shown_example(run.data.task)
        student = pipeline("text-classification", model=str(run.folder), trust_remote_code=models.trust_remote_code)
        sys.stdout.write(
            f"The student is in {run.folder}, an ordinary Hugging Face model:\n\n"
            f'>>> pipeline("text-classification", model="{run.folder}")({example!r}, truncation=True)\n'
            f"{student(example, truncation=True)}\n"
        )


if __name__ == "__main__":
    main()
