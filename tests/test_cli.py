from dataclasses import dataclass, field

import pytest

from hf_distill.cli import parse_arguments
from hf_distill.errors import InputError


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


def colours(*argv):
    return parse_arguments([Colours], argv)[0]


def message(*argv):
    with pytest.raises(InputError) as caught:
        parse_arguments([Colours], argv)
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


def test_a_mapping_may_be_taken_over_from_another(write):
    text = "options: {one: &base {rate: 1e-3, word: x}, two: {<<: *base, word: y}}"
    expected = {"one": {"rate": 0.001, "word": "x"}, "two": {"rate": 0.001, "word": "y"}}
    assert colours(write(text)).options == expected


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
        ("options: {one: {<<: 3}}", ", line 1 is not valid YAML"),
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

    first, second = parse_arguments([First, Second], ["--two", "3"])
    assert constructed == ["first", "second"]
    assert (first.one, second.two) == (1, 3)


def test_help_shows_percent_signs_and_defaults(capsys):
    with pytest.raises(SystemExit):
        parse_arguments([Colours], ["--help"])
    text = capsys.readouterr().out
    assert "A name; 100% free. (default: grey)" in text
    assert "--kind {no,oil,water}" in text
