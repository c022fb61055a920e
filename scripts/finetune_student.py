"""Fine-tune a finished student on a task of GLUE's or on texts of your own, without a teacher."""

from pathlib import Path

from hf_distill.arguments import DataArguments, FineTuningArguments, StudentArguments
from hf_distill.cli import exit_on_input_error, parse_arguments, show_progress
from hf_distill.tasks import load_task
from hf_distill.workflow.data import ReadingNeeds, prepare_data
from hf_distill.workflow.models import Source, load_classifier, load_tokenizer
from hf_distill.workflow.output_folder import check_output_folder, claim_output_folder
from hf_distill.workflow.publication import Publication
from hf_distill.workflow.training import train


@exit_on_input_error
def main() -> None:
    """Parse, build, train, save."""
    show_progress()
    student, data_arguments, args = parse_arguments(
        (StudentArguments, DataArguments, FineTuningArguments), description=__doc__
    )
    check_output_folder(args, student, data_arguments)
    publication = Publication(args)
    task = load_task(data_arguments)
    source = Source.find(student.student_name_or_path, student.student_revision)
    tokenizer = load_tokenizer(source, student.trust_remote_code)
    model, _ = load_classifier(source, task, tokenizer, args, student.trust_remote_code)
    data = prepare_data(task, tokenizer, data_arguments.max_seq_length, [ReadingNeeds.of(model)])
    claim_output_folder(args, student, data_arguments)
    trainer = train(model, args, data, tokenizer)
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    publication.publish(Path(str(args.output_dir)))


if __name__ == "__main__":
    main()
