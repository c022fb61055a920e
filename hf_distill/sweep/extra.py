"""The packages that only a sweep needs."""

from importlib.util import find_spec

from hf_distill.errors import InputError


def require_sweep_extra() -> None:
    """Check that Optuna and Matplotlib are there, before anything is loaded.

    Raises:
        InputError: One of them is missing.
    """
    missing = [name for name in ("optuna", "matplotlib") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"A sweep needs {' and '.join(missing)}, not installed here; run `pip install 'hf_distill[sweep]'`."
        )
