import dataclasses
from dataclasses import dataclass, field

import pytest
from transformers import HfArgumentParser, TrainingArguments

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments
from hf_distill.cli import exit_on_input_error, parse_arguments
from hf_distill.cli.parser import ArgumentsParser
from hf_distill.cli.unknown_names import REPLACEMENTS
from hf_distill.errors import InputError

ALL = (ModelArguments, DataArguments, DistillationTrainingArguments)


@dataclass
class Colours:
    """A dataclass with no side effects."""

    name: str | None = field(default="grey", metadata={"help": "A name; 100% free."})
    share: float | None = 0.5
    count: int = 3
    bright: bool = False
    dark: bool = True
    kind: str = field(default="no", metadata={"choices": ["no", "oil", "water"]})
    tags: list[str] = field(default_factory=list)
    levels: list[int] | None = None
    options: dict | str | None = None


@pytest.fixture
def write(tmp_path):
    def write_file(content):
        path = tmp_path / "run.yaml"
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        return str(path)

    return write_file


def colours(*argv):
    return parse_arguments([Colours], argv)[0]


def message(*argv, types=(Colours,)):
    with pytest.raises(InputError) as caught:
        parse_arguments(types, argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_anything_the_defaults_hold():
    assert colours() == Colours()


def test_the_command_line_wins_over_the_file(write):
    path = write("name: red\nshare: 0.1\nbright: true\n")
    assert colours(path) == Colours(name="red", share=0.1, bright=True)
    assert colours(path, "--share", "0.2", "--no_bright") == Colours(name="red", share=0.2)
    assert colours(path, "--share", "0.5", "--name=grey", "--bright=false") == Colours()


@pytest.mark.parametrize("written", ["1e-3", "1.0e-3", "0.001", ".001", "'1e-3'"])
def test_numbers_are_numbers_however_they_are_written(write, written):
    assert colours(write(f"share: {written}")).share == 0.001
    assert colours("--share", written.strip("'")).share == 0.001


@pytest.mark.parametrize("written", ["3", "3.0", "3e0"])
def test_whole_numbers_may_look_like_floats(write, written):
    count = colours(write(f"count: {written}")).count
    assert count == 3 and isinstance(count, int)


@pytest.mark.parametrize("written", ["no", "off", "yes", "on", "2024-01-01", "12:30", "010", "1e3", "nan", "true"])
def test_text_is_left_as_it_is_written(write, written):
    assert colours(write(f"name: {written}")).name == written
    assert colours("--name", written).name == written


@pytest.mark.parametrize("written", ["no", "off", "false", "'no'"])
def test_no_among_choices_is_the_word(write, written):
    assert colours(write(f"kind: {written}")).kind == "no"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("true", True), ("yes", True), ("on", True), ("1", True), ("false", False), ("no", False), ("off", False)],
)
def test_truth_in_yaml_and_on_the_command_line(write, written, meant):
    assert colours(write(f"bright: {written}\ndark: {written}")) == Colours(bright=meant, dark=meant)
    assert colours("--bright", written, f"--dark={written}") == Colours(bright=meant, dark=meant)


def test_flags_stand_alone():
    assert colours("--bright", "--no_dark") == Colours(bright=True, dark=False)
    assert colours("--no-bright", "--dark") == Colours()


def test_null_gives_back_the_default(write):
    assert colours(write("name: null\nshare: ~\ncount:\ntags: null\n")) == Colours()
    assert colours(write("name: red\nlevels: [1]\n"), "--levels", "null") == Colours(name="red")


def test_lists_and_mappings(write):
    text = "tags: [a, 1, no]\nlevels:\n- 1\n- 2\noptions: {rate: 1e-3, on_top: no, steps: [1, 2], word: x}\n"
    expected = {"rate": 0.001, "on_top": False, "steps": [1, 2], "word": "x"}
    assert colours(write(text)) == Colours(tags=["a", "1", "no"], levels=[1, 2], options=expected)
    assert colours("--tags", "a", "b", "--levels", "3") == Colours(tags=["a", "b"], levels=[3])
    assert colours("--levels", "[1, 2]", "--options", '{"rate": 1e-3}').options == {"rate": 0.001}
    assert colours("--options", "file.json").options == "file.json"
    assert colours(write("tags: alone")).tags == ["alone"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("share: fast", "line 2: share is 'fast', but it takes a number"),
        ("share: true", "line 2: share is 'true', but it takes a number"),
        ("share: nan", "line 2: share is 'nan', but it takes a number"),
        ("share: [1]", "line 2: share is ['1'], but it takes a number"),
        ("count: 1.5", "line 2: count is '1.5', but it takes a whole number"),
        ("count: ''", "line 2: count is '', but it takes a whole number"),
        ("bright: 2", "line 2: bright is '2', but it takes true or false"),
        ("name: [a]", "line 2: name is ['a'], but it takes text"),
        ("levels: [1, x]", "line 2: levels is ['1', 'x'], but it takes a list"),
        ("options: [1]", "line 2: options is ['1'], but it takes a mapping or text"),
        ("kind: oyl", "line 2: kind is 'oyl', but it takes one of no, oil, water; did you mean oil?"),
    ],
)
def test_wrong_types_name_line_key_value_and_what_would_fit(write, written, expected):
    path = write(f"# settings\n{written}\n")
    assert message(path) == f"{path}, {expected}"


def test_wrong_types_on_the_command_line():
    assert message("--share", "fast") == "--share is 'fast', but it takes a number"
    assert message("--levels", "1", "x") == "--levels is ['1', 'x'], but it takes a list"
    assert "--share: expected one argument" in message("--share")
    assert message("--no_bright", "x").startswith("'x' belongs to no --key; ")


@pytest.mark.parametrize("name", ["brihgt", "brigh", "bri", "Bright", "no_brigh"])
def test_misspelt_and_abbreviated_keys_are_refused(write, name):
    nearest = "no_bright" if name == "no_brigh" else "bright"
    assert message(f"--{name}", "true") == f"--{name} is not an argument; did you mean {nearest}?"
    assert message(f"--{name}=true") == f"--{name} is not an argument; did you mean {nearest}?"
    path = write(f"{name}: true")
    assert message(path) == f"{path}, line 1: {name} is not an argument; did you mean bright?"


def test_a_key_like_no_other_points_to_the_help():
    assert message("--zzz") == "--zzz is not an argument; --help lists all arguments"


def test_the_file_comes_first(write):
    path = write("name: red")
    assert "the YAML file before all keys" in message("--name", "blue", path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", " is empty, "),
        ("# nothing\n", " is empty, "),
        ("- name\n- share\n", " holds no settings, but one list"),
        ("just words", " holds no settings, but one text"),
        ("name: red\nshare: 1\nname: blue\n", ", line 3: name was already set in line 1"),
        ("options: {a: 1, a: 2}", ", line 1: a was already set in line 1"),
        ("name: red\nshare: [1\ncount: 2\n", ", line 3 is not valid YAML"),
        ("name: red\n\tshare: 1\n", ", line 2 is not valid YAML"),
        ("? [a]\n: 1\n", ", line 1: a list is no name"),
        ("name: !!python/name:os.system\n", ", line 1 is not valid YAML"),
        (b"\x80\x81\x00\xff", " is not a text file"),
        (b"name: \x00\n", " is not a text file"),
    ],
)
def test_broken_files_are_told_in_one_line(write, content, expected):
    path = write(content)
    assert message(path).startswith(f"{path}{expected}")


def test_missing_files_and_folders(tmp_path):
    assert message(str(tmp_path / "none.yaml")).startswith(f"{tmp_path / 'none.yaml'} does not exist")
    assert message(str(tmp_path)).startswith(f"{tmp_path} cannot be read")


def test_a_byte_order_mark_is_no_part_of_the_first_key(write):
    assert colours(write("\ufeffname: red\n".encode())).name == "red"


@pytest.mark.parametrize("name", sorted(REPLACEMENTS))
def test_replaced_names_are_refused_with_what_replaced_them(write, name):
    known = {item.name for kind in ALL for item in dataclasses.fields(kind)}
    replacement = REPLACEMENTS[name]
    assert name not in known
    assert replacement.name is None or replacement.name in known
    assert message(f"--{name}", "1", types=ALL) == f"--{name} is not an argument; {replacement.advice}"
    assert message(write(f"{name}: 1"), types=ALL).endswith(f"{name} is not an argument; {replacement.advice}")


def test_the_replacements_that_matter_most():
    assert message("--evaluation_strategy", "epoch", types=ALL).endswith("; use eval_strategy")
    assert message("--group-by-length", types=ALL).endswith("; use train_sampling_strategy: group_by_length")
    assert "warmup_steps" in message("--warmup_ratio=0.1", types=ALL)
    assert message("--no_cuda", types=ALL).endswith("; use use_cpu")


def sample(item):
    """A value that a TrainingArguments field takes, as text."""
    texts = {"eval_strategy": "epoch", "save_strategy": "best", "logging_strategy": "no", "hub_strategy": "end"}
    texts |= {"lr_scheduler_type": "cosine", "optim": "adafactor", "train_sampling_strategy": "sequential"}
    texts |= {"ddp_backend": "gloo", "log_level": "error", "log_level_replica": "info"}
    hint = str(item.type)
    if item.name in texts:
        return texts[item.name]
    return "true" if "bool" in hint else "0.25" if "float" in hint else "7" if "int" in hint else "word"


def test_every_training_argument_is_read_as_transformers_reads_it():
    theirs = HfArgumentParser(TrainingArguments, allow_abbrev=False)
    ours = ArgumentsParser([DistillationTrainingArguments])
    # transformers' own parser cannot read a mapping, and gives back True and lists only in part.
    skipped = {"liger_kernel_config", "parallelism_config", "trackio_static_space_id", "label_names", "debug"}
    skipped |= {"include_for_metrics", "include_num_input_tokens_seen", "fsdp", "report_to", "optim_target_modules"}
    fields = [item for item in dataclasses.fields(TrainingArguments) if item.init and item.name not in skipped]
    argv = [f"--{item.name}={sample(item)}" for item in fields]
    expected = vars(theirs.parse_args(argv))

    values = {name: ours.read(name, setting) for name, setting in ours.parse_settings(argv).items()}

    assert len(values) > 90
    assert values == {name: expected[name] for name in values}


def test_training_arguments_from_a_file(write, tmp_path):
    path = write(
        f"""
teacher_name_or_path: some/teacher
student_layers: [0, 2, 4]
task_name: sst2
output_dir: {tmp_path}
use_cpu: true
learning_rate: 3e-5
eval_strategy: no
save_strategy: off
warmup_steps: 0.1
report_to: [tensorboard, wandb]
debug: underflow_overflow
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs: {{min_lr: 1e-6}}
accelerator_config: {{even_batches: no}}
include_num_input_tokens_seen: non_padding
resume_from_checkpoint: true
bf16:
"""
    )
    model, data, training = parse_arguments(ALL, [path, "--student-layers", "0,3", "--max_seq_length=64"])
    assert (model.teacher_name_or_path, model.layers) == ("some/teacher", [0, 3])
    assert (data.task_name, data.max_seq_length) == ("sst2", 64)
    assert (training.learning_rate, training.warmup_steps, training.bf16) == (3e-5, 0.1, False)
    assert (training.eval_strategy.value, training.save_strategy.value) == ("no", "no")
    assert training.report_to == ["tensorboard", "wandb"]
    assert [option.value for option in training.debug] == ["underflow_overflow"]
    assert training.lr_scheduler_kwargs == {"min_lr": 1e-6}
    assert training.accelerator_config.even_batches is False
    assert training.include_num_input_tokens_seen == "non_padding"
    assert training.resume_from_checkpoint is True


def test_each_dataclass_is_constructed_once_and_in_order():
    constructed = []

    @dataclass
    class First:
        one: int = 1

        def __post_init__(self):
            constructed.append("first")

    @dataclass
    class Second:
        two: int = 2

        def __post_init__(self):
            constructed.append("second")

    assert parse_arguments([First, Second], ["--two", "3"]) == (First(), Second(two=3))
    assert constructed[:2] == ["first", "second"] and len(constructed) == 4


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "teacher_name_or_path is not set"),
        (["--teacher_name_or_path", "x", "--task_name", "sst2", "--temperature", "0"], "temperature is 0.0"),
        (["--teacher_name_or_path", "x", "--task_name", "sst2", "--load_best_model_at_end"], "to match"),
        (["--teacher_name_or_path", "x", "--task_name", "sst2", "--accelerator_config", "{a: 1}"], "'a'"),
        (["--teacher_name_or_path", "x", "--task_name", "sst2", "--fsdp", "--fsdp_config", "none.json"], "none.json"),
    ],
)
def test_what_the_dataclasses_refuse_is_an_input_error(argv, expected):
    assert expected in message(*argv, "--use_cpu", types=ALL)


def test_help_is_grouped_and_explains_everything(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments(ALL, ["--help"], description="Distil a teacher.")
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert text.startswith("usage: ") and "Distil a teacher." in text
    assert text.count("accelerate launch scripts/") == 2
    titles = ["teacher and student:", "data:", "distillation:", "everything else that transformers.TrainingArguments"]
    places = [text.index(f"\n{title}") for title in titles]
    assert places == sorted(places)
    for kind in ALL:
        for item in dataclasses.fields(kind):
            assert not item.init or f"\n  --{item.name} " in text
    assert text.index("--temperature") < places[3] < text.index("--output_dir TEXT")
    assert "--no_baseline" not in text
    assert max(len(line) for line in text.splitlines()) <= 110


def test_help_shows_percent_signs_and_defaults(capsys):
    with pytest.raises(SystemExit):
        parse_arguments([Colours], ["--help"])
    text = capsys.readouterr().out
    assert "A name; 100% free. (default: grey)" in text
    assert "--kind {no,oil,water}" in text


def test_an_input_error_is_one_line_and_exit_code_2(capsys, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)

    @exit_on_input_error
    def main(text):
        raise InputError(f"{text}\n is\twrong")

    with pytest.raises(SystemExit) as caught:
        main("this")
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "error: this is wrong\n")


def test_only_the_first_process_of_a_machine_speaks(capsys, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")

    @exit_on_input_error
    def main():
        raise InputError("wrong")

    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "")


def test_other_errors_and_results_pass_through():
    @exit_on_input_error
    def main(fail):
        if fail:
            raise ValueError("a bug")
        return 7

    assert main(False) == 7
    with pytest.raises(ValueError, match="a bug"):
        main(True)
