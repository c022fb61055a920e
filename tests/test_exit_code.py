import pytest

from hf_distill.cli import exit_on_input_error
from hf_distill.errors import InputError


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
