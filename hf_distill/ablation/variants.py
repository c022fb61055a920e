"""Which variants of a run an ablation compares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_distill.ablation.settings import RunSettings
from hf_distill.arguments import AblationArguments, DistillationTrainingArguments
from hf_distill.arguments.objective_arguments import LABELS_ALONE, WEIGHTS
from hf_distill.errors import InputError
from hf_distill.schedules import Schedule, extremes

FULL = "full"
TERM_NAMES = {
    "soft_target_weight": "soft targets",
    "hard_target_weight": "hard targets",
    "hidden_state_weight": "hidden states",
    "attention_weight": "attention",
    "relation_weight": "relations",
    "contrast_weight": "contrast",
}
_SHARED_BY_ALL = (
    "output_dir overwrite_output_dir resume_from_checkpoint seed push_to_hub hub_model_id baseline finetune_teacher "
    "task_name dataset_name dataset_config_name data_dir train_file validation_file text_column text_pair_column "
    "label_column max_eval_samples trust_remote_code"
).split()


@dataclass(frozen=True)
class Variant:
    """One way to make the student.

    Attributes:
        name: As the table shows it.
        changes: What differs from the config, by the name of the argument.
    """

    name: str
    changes: Mapping[str, Any] = field(compare=False)

    @property
    def slug(self) -> str:
        """Its name as a folder can have it."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


def chosen_variants(ablation: AblationArguments, base: RunSettings) -> list[Variant]:
    """The config itself, the automatic variants and those of one's own, as far as they were asked for.

    Args:
        ablation: What was asked for.
        base: The config, of which they are variants.

    Raises:
        InputError: A name is unknown, or means two variants, or a variant changes what all share.
    """
    variants = [Variant(FULL, {})]
    if ablation.automatic_variants:
        variants += automatic_variants(base)
    variants += [Variant(name, changes) for name, changes in (ablation.variants or {}).items()]
    _check_names(variants)
    for variant in variants:
        _check_changes(variant)
    known = [variant.name for variant in variants]
    unknown = [name for name in [*(ablation.variant_names or []), ablation.reference] if name not in known]
    if unknown:
        raise InputError(f"There is no variant {unknown[0]!r}; there are {', '.join(known)}.")
    chosen = ablation.variant_names or known
    if ablation.reference not in chosen:
        raise InputError(
            f"reference is {ablation.reference!r}, which variant_names leaves out, so there is nothing to compare "
            "with; add it there, or name another reference."
        )
    return [variant for variant in variants if variant.name in chosen]


def automatic_variants(base: RunSettings) -> list[Variant]:
    """What DistilBERT's ablation has (Sanh et al. 2019, https://arxiv.org/abs/1910.01108, table 4), and more.

    With two terms, each one alone is the other one left out; and the hard targets alone are "no teacher".
    """
    args, models = base.args, base.models
    active = _active(args)
    variants = []
    if len(active) > 2:
        variants += [Variant(f"without {TERM_NAMES[name]}", _leaving(args, set(active) - {name})) for name in active]
    if len(active) > 1:
        alone = [name for name in active if name != "hard_target_weight"]
        variants += [Variant(f"{TERM_NAMES[name]} alone", _leaving(args, {name})) for name in alone]
    if models.student_name_or_path is None and models.student_init != "random":
        variants.append(Variant("random initialisation", {"student_init": "random"}))
    if active != ["hard_target_weight"]:
        variants.append(Variant("no teacher", LABELS_ALONE))
    of_layers = models.student_name_or_path is None and models.student_config_name_or_path is None
    if of_layers and models.finetune_teacher and models.student_init == "teacher":
        changes = {"student_init": "pretrained", **LABELS_ALONE}
        variants.append(Variant("pretrained layers, no teacher", changes))
    return variants


def _active(args: DistillationTrainingArguments) -> list[str]:
    """The weights that are above 0 at any time."""
    stages = args.stages or [{}]
    return [name for name in WEIGHTS if any(_is_active(stage.get(name, getattr(args, name))) for stage in stages)]


def _is_active(weight: Any) -> bool:
    return extremes(Schedule.read(weight, "weight"))[1] > 0


def _leaving(args: DistillationTrainingArguments, kept: set[str]) -> dict[str, Any]:
    """The changes that set all weights but these to 0, in every stage; a stage without any left goes to the others."""
    zero = dict.fromkeys((name for name in WEIGHTS if name not in kept), 0.0)
    if not args.stages:
        return zero
    own = {name: getattr(args, name) for name in WEIGHTS}
    stages = [{**stage, **zero} for stage in args.stages]
    left = [stage for stage in stages if any(_is_active({**own, **stage}[name]) for name in WEIGHTS)]
    whole = sum(stage["share"] for stage in left)
    return {**zero, "stages": [{**stage, "share": stage["share"] / whole} for stage in left]}


def _check_names(variants: list[Variant]) -> None:
    seen: dict[str, Variant] = {}
    for variant in variants:
        if not variant.slug:
            raise InputError(f"A variant is named {variant.name!r}, which no folder can be; use letters or digits.")
        if variant.slug in seen:
            raise InputError(
                f"Two variants are named {seen[variant.slug].name!r} and {variant.name!r}, and both would be kept in "
                f"the folder {variant.slug!r}; rename one."
            )
        seen[variant.slug] = variant


def _check_changes(variant: Variant) -> None:
    shared = [name for name in variant.changes if name in _SHARED_BY_ALL or name.startswith(("teacher_", "hub_"))]
    if shared:
        raise InputError(
            f"The variant {variant.name!r} sets {', '.join(shared)}, and all variants share that, or their scores "
            "would not compare; set it for all, outside of variants."
        )
