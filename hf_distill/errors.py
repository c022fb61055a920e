"""The one exception that speaks to the user rather than to the developer."""


class InputError(ValueError):
    """Something that was asked for cannot work.

    The message is one line that says what was found, why it cannot work and what to do; the command line prints it
    without a traceback and exits with code 2.
    """


def one_line(error: Exception) -> str:
    """The message of an exception with its line breaks and runs of blanks closed up."""
    return " ".join(str(error).split())
