"""A ``Trainer`` that can be killed at any moment and resumed to the same bits, and saves nothing that is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput

from hf_distill.arguments import RunArguments
from hf_distill.checkpoints import checkpoint_to_resume_from
from hf_distill.early_stopping import is_out_of_patience
from hf_distill.errors import InputError
from hf_distill.length_aware_trainer import LengthAwareTrainer
from hf_distill.loss_monitor import raise_if_weights_not_finite
from hf_distill.sampling import EpochCallback


class ResumableTrainer(LengthAwareTrainer):
    """What Trainer lacks for runs that are interrupted.

    - ``train(resume_from_checkpoint=True)`` goes on from the last complete checkpoint and skips torn ones.
    - The order of the rows depends on seed and epoch alone, with every sampling strategy on offer.
    - Weights that are not finite are never saved, and neither is the Hub token.

    Args:
        model: As for ``transformers.Trainer``.
        args: The arguments of the run.
        **kwargs: As for ``transformers.Trainer``.

    Raises:
        InputError: The sampling strategy is one that repeats rows.
    """

    args: RunArguments
    model: Any

    def __init__(self, model: Any, args: RunArguments, **kwargs: Any) -> None:
        if args.train_sampling_strategy == "batch_rebalance":
            raise InputError(
                "train_sampling_strategy is batch_rebalance, which repeats rows to fill its last step so that they "
                "would count twice; use group_by_length."
            )
        super().__init__(model=model, args=args, **kwargs)
        self.add_callback(EpochCallback())

    def raise_if_loss_not_finite(self) -> None:
        """Called on all processes before a checkpoint and at the end; a subclass that watches its loss raises here."""

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train; ``resume_from_checkpoint=True`` goes on from the last complete checkpoint, if there is one.

        Raises:
            InputError: The checkpoint that was named cannot be resumed from.
            FloatingPointError: A loss or a weight was not finite.
        """
        checkpoint = checkpoint_to_resume_from(resume_from_checkpoint, str(self.args.output_dir), self.args.world_size)
        output = super().train(checkpoint, *args, **kwargs)
        self.raise_if_loss_not_finite()
        return output

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if kwargs["resume_from_checkpoint"] is not None and is_out_of_patience(self.callback_handler.callbacks):
            # Killed after early stopping had ended the run. Trainer would go on to the next evaluation.
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.raise_if_loss_not_finite()
        if self.args.should_save:
            # Of an earlier run, for which it vouches until the new one is written, after all other files.
            folder = Path(self._get_output_dir(trial), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
            (folder / TRAINER_STATE_NAME).unlink(missing_ok=True)
        super()._save_checkpoint(model, trial)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The main process goes on to write the file that vouches for those of all.
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the student, unless its weights are not finite."""
        raise_if_weights_not_finite(self.model, self.state.global_step, self.accelerator)
        super().save_model(output_dir, _internal_call)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save without the Hub token, which Trainer would put into the file of the arguments."""
        with _without_token(self.args):
            super()._save(output_dir, state_dict)


@contextlib.contextmanager
def _without_token(args: RunArguments) -> Iterator[None]:
    token, args.hub_token = args.hub_token, None
    try:
        yield
    finally:
        args.hub_token = token
