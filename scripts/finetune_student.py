"""Fine-tune a finished student on a task of GLUE's or on texts of your own, without a teacher."""

from hf_distill.arguments import DataArguments, FineTuningArguments, StudentArguments
from hf_distill.cli import exit_on_input_error, parse_arguments, show_progress
from hf_distill.tasks import load_task
from hf_distill.workflow.data import prepare_data
from hf_distill.workflow.models import load_classifier, load_tokenizer
from hf_distill.workflow.output_folder import check_output_folder, claim_output_folder
from hf_distill.workflow.training import train


@exit_on_input_error
def main() -> None:
    """Parse, build, train, save."""
    show_progress()
    student, data_arguments, args = parse_arguments(
        (StudentArguments, DataArguments, FineTuningArguments), description=__doc__
    )
    check_output_folder(args)
    task = load_task(data_arguments)
    name, revision, trusted = student.student_name_or_path, student.student_revision, student.trust_remote_code
    tokenizer = load_tokenizer(name, revision, trusted)
    model, _ = load_classifier(name, revision, task, args, trusted)
    data = prepare_data(task, tokenizer, data_arguments.max_seq_length, [model])
    claim_output_folder(args, {"student": vars(student), "data": vars(data_arguments)})
    trainer = train(model, args, data, tokenizer)
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)


if __name__ == "__main__":
    main()
