"""``hf-distill check``, and the check at the start of a run."""

import pytest
from workflow.conftest import save_model, write_reviews

from hf_distill.cli.main import main


@pytest.fixture
def run_check(capsys):
    """Exit code, stdout and stderr of ``hf-distill ARGUMENTS``."""

    def run(*arguments):
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


def test_a_config_with_stages_is_checked_and_nothing_is_written(command, run_check, tmp_path, write):
    stages = """
        stages:
          - {name: layers, share: 0.6, soft_target_weight: 0, hidden_state_weight: 1.0, hidden_state_loss: mse}
          - {name: answers, share: 0.4, learning_rate: 1e-4, temperature: {start: 8, end: 2}}
        layer_mapping: auto
    """
    path = write("\n".join(line[8:] for line in stages.splitlines()))
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = run_check("check", path, *command())
    assert code == 0
    assert sorted(tmp_path.rglob("*")) == before
    assert "Ready" in out.splitlines()[-1] or "Ready, with" in out
    for expected in (
        "stage 1 of 2 (layers): 60 % of the steps, learning rate 5e-05",
        "stage 2 of 2 (answers): 40 % of the steps, learning rate 0.0001",
        "student layers 0-2, teacher layers 0,2,4: hidden states",
        "  teacher's layer      0  1  2  3  4\n"
        "  student starts from  .  1  .  2  .\n"
        "  hidden_state_loss    0  .  1  .  2\n",
        "8 to 2, linear",
        "answers, at its end",
        "neg, pos, in the same order in both",
        "the same in all: vocabulary, and the tokens of 48 texts",
    ):
        assert expected in out


def test_other_labels_are_an_error(command, run_check, shelf):
    code, out, err = run_check("check", *command(teacher_name_or_path=shelf / "topics-teacher"))
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: ") and "sport" in err.splitlines()[-1] and "Traceback" not in err


def test_reversed_labels_are_matched(command, run_check, shelf):
    code, out, _ = run_check("check", *command(teacher_name_or_path=shelf / "reversed-teacher"))
    assert code == 0 and "neg, pos; matched by name with the teacher's classes 1, 0" in out


def test_a_drowned_term_is_a_warning_and_no_error(command, run_check):
    code, out, _ = run_check("check", *command(hard_target_weight=5000))
    assert code == 0
    assert "Ready, with 1 warning:\n  - hard_target_loss, of weight 5000" in out


def test_an_untrained_head_is_told_and_its_terms_not_judged(command, run_check, shelf):
    arguments = command(teacher_name_or_path=shelf / "headless", finetune_teacher="true", hard_target_weight=5000)
    code, out, _ = run_check("check", *arguments)
    assert code == 0
    assert "untrained head (classifier.bias," in " ".join(out.split())
    assert out.endswith("Ready.\n")


def test_another_tokenizer_leaves_the_batch_out(command, run_check, shelf):
    arguments = command(student_name_or_path=shelf / "other-words", student_layers=None)
    code, out, _ = run_check("check", *arguments)
    assert code == 0
    assert "reads the texts with its own" in " ".join(out.split()) and "One batch: left out" in out


def test_several_teachers_and_rows_without_a_label(command, run_check, shelf, tmp_path):
    save_model(tmp_path / "second", hidden_size=16)
    arguments = command(teacher_name_or_path=None, unlabelled_file=write_reviews(tmp_path / "more.csv", 20, seed=9))
    names = [str(shelf / "teacher"), str(tmp_path / "second")]
    code, out, err = run_check("check", "--teacher_name_or_path", *names, *arguments)
    assert code == 0, err
    assert " of them without a label" in out and "there are 2 teachers" in out
    assert "soft_target_loss     0.5" in out


@pytest.mark.parametrize(
    ("arguments", "message"), [(["chek"], "'chek' is not a command"), (["check", "--lr", "1"], "--lr")]
)
def test_what_is_not_known_is_an_error(run_check, arguments, message):
    code, _, err = run_check(*arguments)
    assert code == 2 and message in err


def test_help_names_the_commands(run_check):
    for arguments in ([], ["--help"]):
        code, out, _ = run_check(*arguments)
        assert code == 0 and "  check   Tell what a configuration would do" in out
    code, out, _ = run_check("check", "--help")
    assert code == 0 and "usage: hf-distill check [FILE.yaml]" in out and "hf-distill check FILE.yaml" in out


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_run_logs_its_check_once(command, run_script, capsys, epochs):
    """Live in one epoch, from the cache in several."""
    assert run_script("distill_glue.py", command(num_train_epochs=epochs)) == 0
    err = capsys.readouterr().err
    assert err.count("One batch of 16 rows drawn with seed 42") == 1
    report = err[err.index("Models\n") :]
    assert "BertForSequenceClassification  BertForSequenceClassification" in report
    assert "hard_target_loss     0.5" in report and "Ready" in report
    assert "untrained head" not in report
