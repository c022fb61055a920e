"""What a student learns from, as a configuration names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_type_hints

from hf_distill.cli.conversion import convert
from hf_distill.errors import InputError
from hf_distill.objectives import (
    AttentionTransfer,
    Contrast,
    DistillationObjective,
    HardTargets,
    HiddenStates,
    Relations,
    Schedule,
    SoftTargets,
    Stage,
    Stages,
    Term,
)
from hf_distill.objectives.attention import ATTENTION_HEADS, ATTENTION_LOSSES
from hf_distill.objectives.contrast import CONTRAST_LOSSES, POOLINGS
from hf_distill.objectives.hidden_states import HIDDEN_STATE_LOSSES
from hf_distill.objectives.relations import MINILM_V2
from hf_distill.objectives.soft_targets import SOFT_TARGET_LOSSES
from hf_distill.objectives.term import check_weight

WEIGHTS = (
    "soft_target_weight",
    "hard_target_weight",
    "hidden_state_weight",
    "attention_weight",
    "relation_weight",
    "contrast_weight",
)
_OF_A_STAGE = ("name", "share", "learning_rate")


@dataclass
class ObjectiveArguments:
    """The weighted objective: each ``..._weight`` adds a term, and a term of weight 0 is not computed.

    ``temperature`` and the weights may change during training: in place of a number, a mapping such as
    ``{start: 8, end: 2, shape: linear}``; see :class:`~hf_distill.objectives.Schedule`.

    Raises:
        InputError: If a value is out of range or unknown.
    """

    _argument_group_name = "objective"

    temperature: float | dict = field(
        default=2.0,
        metadata={
            "help": "T, above 0: both models' scores are divided by it before they are compared, so that a higher "
            "one shows more of how the teacher ranks the wrong answers. A schedule, {start: 8, end: 2, shape: linear, "
            "cosine or step, begin: 0, finish: 1}, changes it during training; so it does each weight."
        },
    )
    soft_target_weight: float | dict = field(
        default=0.5, metadata={"help": "Weight of the teacher's soft targets (times T²); 0 or more."}
    )
    soft_target_loss: str = field(
        default="forward_kl",
        metadata={
            "help": "How the two models' answers are compared: KL(teacher ‖ student), its reverse, Jensen-Shannon "
            "between the two, the logits' squared error, or DIST's correlations.",
            "choices": list(SOFT_TARGET_LOSSES),
        },
    )
    jensen_shannon_beta: float = field(
        default=0.5, metadata={"help": "The teacher's share of the mixture in jensen_shannon, between 0 and 1."}
    )
    weigh_by_confidence: bool = field(
        default=False,
        metadata={"help": "Multiply each soft target's distance by the largest probability that the teacher gives."},
    )
    hard_target_weight: float | dict = field(
        default=0.5, metadata={"help": "Weight of the labels' own loss; 0 or more. At 0, no labels are needed."}
    )
    hidden_state_weight: float | dict = field(
        default=0.0, metadata={"help": "Weight of the distance between hidden states; 0 or more."}
    )
    hidden_state_loss: str = field(
        default="cosine",
        metadata={
            "help": "How hidden states are compared: cosine (DistilBERT) or mse (TinyBERT) at attended positions, or "
            "first_token, normalised (PKD).",
            "choices": list(HIDDEN_STATE_LOSSES),
        },
    )
    layer_mapping: str | list[list[int]] = field(
        default="last",
        metadata={
            "help": "Which layers hidden states and attention are compared in: last, auto (all of the student's, each "
            "with the teacher's at the same relative depth), or pairs [[student, teacher], ...], 0 for the embeddings."
        },
    )
    attention_weight: float | dict = field(
        default=0.0, metadata={"help": "Weight of the distance between attention maps; 0 or more."}
    )
    attention_loss: str = field(
        default="scores",
        metadata={
            "help": "Squared error of the scores before the softmax (TinyBERT), or KL divergence of the probabilities "
            "after it (MobileBERT).",
            "choices": list(ATTENTION_LOSSES),
        },
    )
    attention_heads: str = field(
        default="each",
        metadata={
            "help": "Compare attention head by head, or the sum of a layer's heads, whose numbers may then differ.",
            "choices": list(ATTENTION_HEADS),
        },
    )
    relation_weight: float | dict = field(
        default=0.0,
        metadata={"help": "Weight of the relations among queries, keys and values (MiniLM, MiniLMv2); 0 or more."},
    )
    relations: list[str] = field(
        default_factory=lambda: list(MINILM_V2),
        metadata={
            "help": "Which are related: MiniLMv2's query-query, key-key, value-value; MiniLM's are query-key, "
            "value-value."
        },
    )
    relation_heads: int | None = field(
        default=None,
        metadata={"help": "Into how many heads both models are cut for it; unset, as many as the teacher has."},
    )
    relation_mapping: str | list[list[int]] = field(
        default="last",
        metadata={
            "help": "Which layers relations are compared in: last, auto or pairs; for an upper layer of the teacher "
            "such as the 10th of 12, [[6, 10]]."
        },
    )
    contrast_weight: float | dict = field(
        default=0.0,
        metadata={"help": "Weight of how the examples of a step relate to one another in the last layer; 0 or more."},
    )
    contrast_loss: str = field(
        default="distance_angle",
        metadata={
            "help": "Distances, angles or both between examples (RKD), or their similarities (SPKD).",
            "choices": list(CONTRAST_LOSSES),
        },
    )
    contrast_mapping: str | list[list[int]] = field(
        default="last", metadata={"help": "Which layers contrast is compared in: last, auto or pairs."}
    )
    contrast_pooling: str = field(
        default="mean",
        metadata={"help": "An example's vector: the mean of its tokens' or the first.", "choices": list(POOLINGS)},
    )
    projection_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Learning rate of the projections that hidden states of another width go through; unset, "
            "learning_rate."
        },
    )
    stages: list[dict] | None = field(
        default=None,
        metadata={
            "help": "Several objectives after one another: a list of mappings, each with the share of the training "
            "that it lasts, what differs from the settings above, and perhaps a learning_rate and a name."
        },
    )

    def objective(self, label_smoothing: float = 0.0) -> Stages:
        """The objective, or the stages, that these arguments describe.

        Args:
            label_smoothing: Of the hard targets.

        Raises:
            InputError: If a value is out of range or unknown, or no weight is above 0.
        """
        own = {item.name: getattr(self, item.name) for item in fields(ObjectiveArguments)}
        if not self.stages:
            return Stages.of(_objective(own, label_smoothing))
        return Stages([_stage(own, stage, number, label_smoothing) for number, stage in enumerate(self.stages, 1)])

    def described_objective(self) -> dict[str, Any]:
        """The settings that matter, for a report: the main ones, and all that are not as they are by default."""
        defaults = ObjectiveArguments()
        names = [item.name for item in fields(ObjectiveArguments)]
        changed = [name for name in names if getattr(self, name) != getattr(defaults, name)]
        shown = ("temperature", "soft_target_weight", "hard_target_weight")
        return {name: getattr(self, name) for name in names if name in shown or name in changed}


LABELS_ALONE: dict[str, Any] = {**dict.fromkeys(WEIGHTS, 0.0), "hard_target_weight": 1.0, "stages": None}
"""The changes to an objective that leave nothing but the labels to learn from."""


def _objective(values: Mapping[str, Any], label_smoothing: float) -> DistillationObjective:
    weights = {name: Schedule.read(values[name], name) for name in WEIGHTS}
    for name, weight in weights.items():
        check_weight(weight, name)
    terms: list[Term] = [
        SoftTargets(
            weight=weights["soft_target_weight"],
            temperature=Schedule.read(values["temperature"], "temperature"),
            loss=values["soft_target_loss"],
            beta=values["jensen_shannon_beta"],
            weigh_by_confidence=values["weigh_by_confidence"],
        ),
        HardTargets(weight=weights["hard_target_weight"], label_smoothing=label_smoothing),
        HiddenStates(
            weight=weights["hidden_state_weight"],
            loss=values["hidden_state_loss"],
            layer_mapping=values["layer_mapping"],
        ),
        AttentionTransfer(
            weight=weights["attention_weight"],
            loss=values["attention_loss"],
            heads=values["attention_heads"],
            layer_mapping=values["layer_mapping"],
        ),
        Relations(
            weight=weights["relation_weight"],
            relations=tuple(values["relations"]),
            relation_heads=values["relation_heads"],
            layer_mapping=values["relation_mapping"],
        ),
        Contrast(
            weight=weights["contrast_weight"],
            loss=values["contrast_loss"],
            pooling=values["contrast_pooling"],
            layer_mapping=values["contrast_mapping"],
        ),
    ]
    if not any(term.takes_part for term in terms):
        raise InputError(f"{', '.join(WEIGHTS)} are all 0, so there is nothing to learn; set one of them above 0.")
    return DistillationObjective(terms)


def _stage(own: dict[str, Any], stage: Any, number: int, label_smoothing: float) -> Stage:
    if not isinstance(stage, Mapping):
        raise InputError(
            f"Stage {number} is {stage!r}; write a mapping, such as {{share: 0.5, hidden_state_weight: 1.0}}."
        )
    unknown = [name for name in stage if name not in own and name not in _OF_A_STAGE or name == "stages"]
    if unknown:
        raise InputError(
            f"Stage {number} sets {', '.join(unknown)}, which a stage does not have; it may set share, learning_rate, "
            f"name, {', '.join(name for name in own if name != 'stages')}."
        )
    if "share" not in stage:
        raise InputError(
            f"Stage {number} does not say how long it lasts; give its share of the training, such as 0.5."
        )
    try:
        given = {name: _converted(name, value) for name, value in stage.items() if name != "name"}
        share, rate = given.pop("share"), given.pop("learning_rate", None)
        objective = _objective({**own, **given}, label_smoothing)
    except InputError as error:
        raise InputError(f"Stage {number}: {error}") from error
    return Stage(objective, share, rate, str(stage.get("name", f"stage {number}")))


def _converted(name: str, value: Any) -> Any:
    """A stage's setting, in a file or on the command line, as its field's type."""
    hint = {"share": float, "learning_rate": float | None, **get_type_hints(ObjectiveArguments)}[name]
    if value is None and type(None) in get_args(hint):
        return None
    try:
        return convert(value if isinstance(value, list | Mapping) else str(value), hint)
    except ValueError as error:
        raise InputError(f"{name} is {value!r}, but {error}") from None
