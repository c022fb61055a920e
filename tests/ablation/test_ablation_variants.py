"""Which variants there are, and what is refused before anything is loaded."""

import pytest
from ablation.conftest import ABLATION

from hf_distill.ablation.settings import RunSettings
from hf_distill.ablation.variants import TERM_NAMES, automatic_variants, chosen_variants
from hf_distill.arguments import AblationArguments, DataArguments, ModelArguments, TeacherCacheArguments
from hf_distill.arguments.objective_arguments import WEIGHTS
from hf_distill.errors import InputError
from hf_distill.objectives import HardTargets


@pytest.fixture
def base(make_arguments):
    def settings(models=None, data=None, **training):
        return RunSettings(
            ModelArguments(teacher_name_or_path="t", **(models or {})),
            TeacherCacheArguments(),
            DataArguments(task_name="sst2", **(data or {})),
            make_arguments(**training),
        )

    return settings


def names(base, **ablation):
    return [variant.name for variant in chosen_variants(AblationArguments(**ablation), base)]


def terms(base, name):
    (variant,) = [variant for variant in automatic_variants(base) if variant.name == name]
    args = base.changed(variant.changes, name).args
    return [objective.term_names for objective in args.objective().objectives], args


def test_every_weight_has_a_name():
    assert set(TERM_NAMES) == set(WEIGHTS)


def test_each_of_three_terms_is_left_out_and_alone(base):
    found = names(base(hidden_state_weight=1.0))
    assert found[:6] == [
        "full",
        "without soft targets",
        "without hard targets",
        "without hidden states",
        "soft targets alone",
        "hidden states alone",
    ]
    assert found[6:8] == ["random initialisation", "no teacher"]
    settings = base(hidden_state_weight=1.0)
    assert terms(settings, "without soft targets")[0] == [("hard_target_loss", "hidden_state_loss")]
    assert terms(settings, "hidden states alone")[0] == [("hidden_state_loss",)]
    assert terms(settings, "no teacher")[0] == [("hard_target_loss",)]
    (term,) = terms(settings, "no teacher")[1].objective().objectives[0].terms
    assert isinstance(term, HardTargets) and term.weight == 1.0


def test_two_terms_are_not_compared_twice(base):
    assert names(base())[:4] == ["full", "soft targets alone", "random initialisation", "no teacher"]


def test_one_term_has_nothing_to_leave_out(base):
    found = names(base(soft_target_weight=1.0, hard_target_weight=0.0))
    assert found[:3] == ["full", "random initialisation", "no teacher"]
    assert names(base(soft_target_weight=0.0, hard_target_weight=1.0)) == ["full", "random initialisation"]


def test_student_that_starts_elsewhere_is_not_drawn_anew(base):
    assert "random initialisation" not in names(base({"student_name_or_path": "s"}))
    assert "random initialisation" not in names(base({"student_init": "random"}))


def test_pretrained_layers_need_a_teacher_that_is_finetuned(base):
    name = "pretrained layers, no teacher"
    assert name not in names(base())
    assert name in names(base({"finetune_teacher": True}))
    assert name not in names(base({"finetune_teacher": True, "student_name_or_path": "s"}))


def test_left_out_term_is_0_in_all_stages_and_an_empty_stage_goes_to_the_others(base):
    stages = [
        {"share": 0.5, "name": "layers", "hidden_state_weight": 1.0, "soft_target_weight": 0, "hard_target_weight": 0},
        {"share": 0.3, "name": "both", "hidden_state_weight": {"start": 1.0, "end": 0.0}, "learning_rate": 1e-3},
        {"share": 0.2, "name": "answers"},
    ]
    settings = base(stages=stages)
    found, args = terms(settings, "without hidden states")
    assert found == [("soft_target_loss", "hard_target_loss")] * 2
    assert [stage["share"] for stage in args.stages] == pytest.approx([0.6, 0.4])
    assert [stage["name"] for stage in args.stages] == ["both", "answers"]
    assert args.stages[0]["learning_rate"] == 1e-3
    found, args = terms(settings, "without soft targets")
    assert found == [("hidden_state_loss",), ("hard_target_loss", "hidden_state_loss"), ("hard_target_loss",)]
    assert terms(settings, "hidden states alone")[0] == [("hidden_state_loss",)] * 2
    assert terms(settings, "no teacher")[1].stages is None


def test_what_no_longer_teaches_answers_leaves_out_rows_without_a_label(base):
    settings = base(data={"max_train_samples": 9, "unlabelled_rest": True, "unlabelled_ratio": 2.0})
    by_name = {variant.name: settings.changed(variant.changes, "it") for variant in automatic_variants(settings)}
    assert by_name["soft targets alone"].data == settings.data
    assert by_name["no teacher"].data == DataArguments(task_name="sst2", max_train_samples=9)


def test_changes_are_read_as_yaml_s(base):
    changes = {
        "learning_rate": "1e-4",
        "num_train_epochs": 2,
        "student_layers": None,
        "layer_mapping": [[1, 2], [2, 4]],
        "student_init": "random",
        "temperature": {"start": 8, "end": 2},
        "weigh_by_confidence": True,
        "stages": [{"share": 1.0, "hidden_state_weight": 1}],
    }
    changed = base({"student_layers": 3}).changed(changes, "it")
    args, models = changed.args, changed.models
    assert (args.learning_rate, args.num_train_epochs, args.layer_mapping) == (1e-4, 2.0, [[1, 2], [2, 4]])
    assert (models.student_layers, models.student_init) == (None, "random")
    assert args.temperature == {"start": 8, "end": 2} and args.weigh_by_confidence is True
    assert args.stages == [{"share": 1.0, "hidden_state_weight": 1}]


def test_own_variants_and_a_choice_of_them(base):
    own = {"hotter": {"temperature": 8}}
    assert names(base(), variants=own, automatic_variants=False) == ["full", "hotter"]
    assert names(base(), variants=own)[-1] == "hotter"
    assert names(base(), variants=own, variant_names=["hotter", "full"]) == ["full", "hotter"]
    assert names(base(), variants=own, variant_names=["hotter"], reference="hotter") == ["hotter"]


@pytest.mark.parametrize(
    ("ablation", "mentions"),
    [
        ({"variants": {"x": {"seed": 3}}}, "'x' sets seed, and all variants share"),
        ({"variants": {"x": {"teacher_learning_rate": 3}}}, "teacher_learning_rate"),
        ({"variants": {"x": {}, "X!": {}}}, "'x' and 'X!'"),
        ({"variants": {"Full": {}}}, "'full' and 'Full'"),
        ({"variants": {"!": {}}}, "no folder"),
        ({"variant_names": ["ful"]}, "no variant 'ful'; there are full,"),
        ({"reference": "none"}, "no variant 'none'"),
        ({"variant_names": ["no teacher"]}, "reference is 'full'"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused(base, ablation, mentions):
    with pytest.raises(InputError, match=mentions.replace("(", r"\(")):
        chosen_variants(AblationArguments(**ablation), base())


@pytest.mark.parametrize(
    ("changes", "mentions"),
    [
        ({"temperatur": 3}, "'x' sets temperatur, which is not an argument; .*temperature"),
        ({"temperature": "hot"}, "'x': temperature is 'hot', but it takes a number"),
        ({"temperature": -1}, "'x': .*-1"),
        ({"student_name_or_path": "s"}, "'x': .*different students"),
    ],
    ids=str,
)
def test_wrong_change_is_named_with_its_variant(base, changes, mentions):
    with pytest.raises(InputError, match=mentions):
        base({"student_layers": 3}).changed(changes, "The variant 'x'")


@pytest.mark.parametrize(
    ("ablation", "mentions"),
    [
        ({"seeds": 0}, "seeds is 0"),
        ({"tasks": []}, "tasks"),
        ({"tasks": ["sst2", "sst2"]}, "each once"),
        ({"variants": {"x": 3}}, "'x' 3, which is no mapping"),
        ({"tasks": ["sst2"], "task_settings": {"mrpc": {}}}, "names mrpc, and tasks does not"),
    ],
    ids=str,
)
def test_arguments_that_train_nothing_are_refused(ablation, mentions):
    with pytest.raises(InputError, match=mentions):
        AblationArguments(**ablation)


@pytest.mark.parametrize(
    ("flags", "mentions"),
    [
        (["--teacher_cache_dir", "false"], "teacher_cache_dir is false"),
        (["--push_to_hub", "--hub_model_id", "me/student"], "push_to_hub"),
        (["--resume_from_checkpoint", "some/checkpoint-4"], "--resume_from_checkpoint alone"),
        (["--overwrite_output_dir"], "overwrite_output_dir"),
        (["--variant_names", "nothing"], "no variant 'nothing'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_refused_in_one_line_before_anything_is_written(flags, mentions, ablate, out, capfd):
    assert ablate(*flags) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and mentions in errors[0]
    assert not out.exists()


def test_foreign_folder_is_left_alone(ablate, out, capfd):
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert ablate() == 2
    assert "not of an ablation" in capfd.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_help_explains_the_ablation(run_script, capsys):
    assert run_script("ablation.py", ["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"--{name} " in text for name in AblationArguments.__dataclass_fields__)
    assert set(ABLATION) & set(AblationArguments.__dataclass_fields__)
