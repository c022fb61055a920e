"""Distil a classifier of images into a small convolutional network, and compare the two."""

import sys

from transformers import pipeline

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.cli import exit_on_input_error, parse_arguments, show_progress
from hf_distill.workflow.image_distillation_run import ImageDistillationRun


@exit_on_input_error
def main() -> None:
    """Parse, build, train, save."""
    show_progress()
    models, cache, data, args = parse_arguments(
        (ModelArguments, TeacherCacheArguments, DataArguments, DistillationTrainingArguments), description=__doc__
    )
    run = ImageDistillationRun(models, data, args, cache)
    run.distil()
    report = run.report()
    if args.should_save:
        sys.stdout.write(f"\n{report.summary()}\n")
    run.publication.publish(run.folder)
    if args.should_save:
        example = next(iter(run.data.task.evaluation.values()))[0]["image"]
        student = pipeline("image-classification", model=str(run.folder), trust_remote_code=models.trust_remote_code)
        sys.stdout.write(
            f"The student is in {run.folder}, an ordinary Hugging Face model:\n\n"
            f'>>> pipeline("image-classification", model="{run.folder}")("an-image.png", top_k=1)\n'
            f"{student(example, top_k=1)}\n"
        )


if __name__ == "__main__":
    main()
