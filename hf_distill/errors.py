"""The one exception that speaks to the user rather than to the developer."""


class InputError(ValueError):
    """Something that was asked for cannot work.

    The message is one line that says what was found, why it cannot work and what to do; the command line prints it
    without a traceback and exits with code 2.
    """
