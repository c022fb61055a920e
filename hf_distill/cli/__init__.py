"""From a YAML file and ``--key value`` to the dataclasses of a run, with errors that fit on one line."""

from hf_distill.cli.exit_code import exit_on_input_error
from hf_distill.cli.messages import show_progress
from hf_distill.cli.parsing import parse_arguments

__all__ = ["exit_on_input_error", "parse_arguments", "show_progress"]
