"""What the user did wrong is told in one line; a traceback is kept for what the code did wrong."""

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from hf_distill.errors import InputError, one_line
from hf_distill.hub import PushError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def exit_on_input_error(main: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Turn an `InputError` that leaves `main` into ``error: ...`` on stderr and exit code 2, without a traceback.

    A `PushError`, which comes when all is done but the push, gives exit code 1.

    Every process of a distributed run meets the same error, so only the first one of each machine prints it.
    Any other exception passes through untouched.

    Example:
        ```python
        @exit_on_input_error
        def main() -> None: ...
        ```
    """

    @functools.wraps(main)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return main(*args, **kwargs)
        except InputError as error:
            if int(os.environ.get("LOCAL_RANK", "0")) <= 0:
                sys.stderr.write(f"error: {one_line(error)}\n")
            sys.exit(2)
        except PushError as error:
            sys.stderr.write(f"error: {one_line(error)}\n")
            sys.exit(1)

    return wrapper
