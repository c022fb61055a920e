"""What an ablation compares, on which tasks, how often."""

from dataclasses import dataclass, field
from typing import Any

from hf_distill.errors import InputError


@dataclass
class AblationArguments:
    """Which variants of a run are trained, on which tasks and with how many seeds.

    Raises:
        InputError: If nothing would be trained, or a mapping is not one of names to settings.
    """

    _argument_group_name = "ablation"

    tasks: list[str] | None = field(
        default=None,
        metadata={"help": "Train all variants on each of these tasks, in place of task_name alone."},
    )
    task_settings: dict[str, Any] | None = field(
        default=None,
        metadata={"help": "What differs for single tasks: {mrpc: {num_train_epochs: 5}, ...}."},
    )
    variants: dict[str, Any] | None = field(
        default=None,
        metadata={
            "help": "Variants of your own, each a name and what it changes: {twice as long: {num_train_epochs: 6}}."
        },
    )
    automatic_variants: bool = field(
        default=True,
        metadata={
            "help": "Also train what every ablation asks for: each term of the objective left out and alone, random "
            "weights in place of the teacher's layers, no teacher."
        },
    )
    variant_names: list[str] | None = field(
        default=None, metadata={"help": "Train only the variants of these names; unset, all."}
    )
    reference: str = field(
        default="full", metadata={"help": "The variant to which all differences are taken; full is the config itself."}
    )
    seeds: int = field(
        default=3,
        metadata={
            "help": "Train each variant with this many seeds, from seed on, which draw the order of the rows, the "
            "dropout and random weights. All share one teacher."
        },
    )

    def __post_init__(self) -> None:
        """Refuse what names nothing to train."""
        if self.seeds < 1:
            raise InputError(f"seeds is {self.seeds}, with which nothing is trained; use 1 or more, 3 for intervals.")
        for name in ("tasks", "variant_names"):
            given = getattr(self, name)
            if given is not None and (not given or len(set(given)) < len(given)):
                raise InputError(f"{name} is {given}; name at least one, and each once, or leave it out.")
        for name in ("task_settings", "variants"):
            for key, changes in (getattr(self, name) or {}).items():
                if not isinstance(changes, dict):
                    raise InputError(
                        f"{name} gives {key!r} {changes!r}, which is no mapping; write {key}: {{argument: value}}."
                    )
        others = [task for task in self.task_settings or {} if task not in (self.tasks or [])]
        if others:
            raise InputError(f"task_settings names {', '.join(others)}, and tasks does not; add it there.")
