"""Push a finished student to the Hub, once."""

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import httpx, validate_repo_id
from transformers.utils import logging

from hf_distill.errors import InputError

logger = logging.get_logger(__name__)

PUSHED_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "configuration_*.py",
    "modeling_*.py",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "bpe.codes",
    "*.model",
    "README.md",
    "distillation_report.json",
)
"""What a student is made of, its own code included where transformers has none for it.

``*.model`` are sentencepiece vocabularies (``spiece.model``, ``tokenizer.model`` …).
"""

PASSING_STATUS_CODES = (408, 429, 500, 502, 503, 504)


class PushError(RuntimeError):
    """The student did not reach the Hub; the message says why, where it lies and how to push it again."""


def push_student(
    folder: str | Path,
    repo_id: str,
    *,
    token: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str = "Add the distilled student",
    retry_waits: Sequence[float] = (1.0, 4.0, 16.0),
) -> str:
    """Upload the student, its tokenizer, its card and its report in one commit, and nothing else from the folder.

    The Hub client tries uploads again by itself, but not the commit; that is done here. Each try asks the Hub first
    what it already holds, so a commit whose answer was lost is not made twice.

    Args:
        folder: Where the student was saved. It is only read.
        repo_id: ``name`` or ``owner/name``; created if it is not there.
        token: Access token; by default the one that ``hf auth login`` stored.
        private: Whether a repository that is created now is private; ``None`` leaves it to the owner's default.
        revision: Branch to push to, created if it is not there; ``None`` is the main branch.
        commit_message: First line of the commit.
        retry_waits: Seconds to wait before each further try of the commit; their number is the number of such tries.

    Returns:
        The repository's address.

    Raises:
        InputError: The folder holds no student, or the repository's name is not one.
        PushError: The Hub refused or could not be reached. The student is still on disk.
    """
    files = student_files(folder)
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"{repo_id!r} cannot be the name of a repository on the Hub: {_one_line(error)}") from None
    api = HfApi(token=token)
    failures = _Failures(repo_id, folder, push_again_command(folder, repo_id, private, revision), token or get_token())
    with failures.reported("creating the repository"):
        repo = api.create_repo(repo_id, private=private, exist_ok=True)
    if revision is not None and not revision.startswith("refs/pr/"):
        with failures.reported(f"creating the branch {revision}"):
            api.create_branch(repo.repo_id, branch=revision, exist_ok=True)
    _upload_and_commit(api, repo.repo_id, files, commit_message, revision, retry_waits, failures)
    return str(repo)


def student_files(folder: str | Path) -> list[Path]:
    """The files at the top of the folder that belong to the student, in order of their names.

    Raises:
        InputError: Configuration or weights are missing.
    """
    entries = sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []
    files = [path for path in entries if path.is_file() and any(fnmatch(path.name, name) for name in PUSHED_FILES)]
    names = [path.name for path in files]
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise InputError(
            f"{folder} holds no student to push: config.json and model.safetensors are needed. "
            "Save the student there first."
        )
    return files


def push_again_command(folder: str | Path, repo_id: str, private: bool | None, revision: str | None) -> str:
    """The shell command that pushes a student from the disk."""
    arguments = [_double_quoted(str(folder)), _double_quoted(repo_id)]
    if private is not None:
        arguments.append(f"private={private}")
    if revision is not None:
        arguments.append(f"revision={_double_quoted(revision)}")
    code = f"from hf_distill.hub import push_student; push_student({', '.join(arguments)})"
    return f"python -c {shlex.quote(code)}"


def _double_quoted(text: str) -> str:
    """A Python string for a shell word in single quotes."""
    return json.dumps(text, ensure_ascii=False)


class _Failures:
    """Turns whatever goes wrong at a stage of a push into a message that helps."""

    def __init__(self, repo_id: str, folder: str | Path, again: str, secret: str | None) -> None:
        self.repo_id = repo_id
        self.folder = folder
        self.again = again
        self.secret = secret

    @contextmanager
    def reported(self, stage: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Without its cause: a server may echo the token, and a traceback would show it.
            raise PushError(self._message(stage, error)) from None

    def _message(self, stage: str, error: Exception) -> str:
        reason = " ".join(_one_line(cause) for cause in _causes(error))
        message = (
            f"The student was not pushed to {self.repo_id}: {stage} failed ({reason}). "
            f"It is safe on disk in {self.folder}. Log in with `hf auth login` if the Hub did not accept the token, "
            f"then push it again with: {self.again}"
        )
        return message.replace(self.secret, "<token>") if self.secret else message


def _upload_and_commit(
    api: HfApi,
    repo_id: str,
    files: list[Path],
    message: str,
    revision: str | None,
    retry_waits: Sequence[float],
    failures: _Failures,
) -> None:
    """One commit with all the files, tried once and then once after each wait."""
    for wait in (*retry_waits, None):
        operations = [CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=path) for path in files]
        with failures.reported("uploading the files"):
            api.preupload_lfs_files(repo_id, operations, revision=revision, free_memory=False)
        with failures.reported("committing the files"):
            if _committed(api, repo_id, operations, message, revision, last_try=wait is None):
                break
        if wait is not None:
            time.sleep(wait)


def _committed(
    api: HfApi,
    repo_id: str,
    operations: list[CommitOperationAdd],
    message: str,
    revision: str | None,
    last_try: bool,
) -> bool:
    """Whether the commit went through; raises if there is no point in another try."""
    try:
        api.create_commit(repo_id, operations, commit_message=message, revision=revision)
    except (HfHubHTTPError, httpx.TransportError) as error:
        refused = isinstance(error, HfHubHTTPError) and error.response.status_code not in PASSING_STATUS_CODES
        if last_try or refused:
            raise
        logger.warning("The Hub did not take the commit; trying again.")
        return False
    return True


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it, down to the HTTP error: `Error while uploading X` alone does not say why."""
    while error is not None:
        yield error
        error = None if isinstance(error, httpx.HTTPError) else error.__cause__


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
