"""The one push at the end of a run."""

from __future__ import annotations

import sys
from pathlib import Path

from accelerate import PartialState
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_distill.arguments import DistillationTrainingArguments
from hf_distill.errors import InputError, one_line
from hf_distill.hub import push_student


class Publication:
    """Takes ``push_to_hub`` out of the arguments, so that Trainer does not push at every save, and pushes once.

    Args:
        args: The run; its ``push_to_hub`` is false afterwards.

    Raises:
        InputError: A push was asked for and ``hub_model_id`` cannot be a repository's name.
    """

    def __init__(self, args: DistillationTrainingArguments) -> None:
        self.is_wanted, args.push_to_hub = args.push_to_hub, False
        self.repo_id: str | None = args.hub_model_id
        self._args = args
        if not self.is_wanted:
            return
        if self.repo_id is None:
            raise InputError("push_to_hub is set and hub_model_id is not, so there is no name to push to; set both.")
        try:
            validate_repo_id(self.repo_id)
        except HFValidationError as error:
            raise InputError(
                f"hub_model_id is {self.repo_id!r}, which cannot be the name of a repository ({one_line(error)}); "
                "write OWNER/NAME."
            ) from None

    def publish(self, folder: Path) -> None:
        """Push the student in the folder, if that was asked for, and say where it went.

        Raises:
            PushError: It did not arrive; the student is still on disk.
        """
        if not self.is_wanted or self.repo_id is None or not PartialState().is_main_process:
            return
        args = self._args
        address = push_student(
            folder, self.repo_id, token=args.hub_token, private=args.hub_private_repo, revision=args.hub_revision
        )
        sys.stdout.write(f"Pushed to {address}\n")
