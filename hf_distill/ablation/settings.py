"""All arguments of a run in one object, and the same with some of them changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hf_distill.arguments import DataArguments, DistillationTrainingArguments, ModelArguments, TeacherCacheArguments
from hf_distill.arguments.transfer_arguments import TransferArguments
from hf_distill.cli.parser import ArgumentsParser, init_fields
from hf_distill.cli.unknown_names import suggest
from hf_distill.cli.yaml_file import Setting
from hf_distill.errors import InputError
from hf_distill.workflow.run_settings import run_settings, what_it_starts_from, what_shapes_training

_PARTS = {
    "models": ModelArguments,
    "cache": TeacherCacheArguments,
    "data": DataArguments,
    "args": DistillationTrainingArguments,
}
_LENGTH = ("num_train_epochs", "max_steps")
_CHOOSES_THE_BEST_STEP = ("eval_strategy", "eval_steps", "save_strategy", "save_steps")
_CHANGE_NO_SCORE = ("seed", "baseline", "data_dir", "augmentation_dir")


@dataclass(frozen=True)
class RunSettings:
    """What one student is made, taught and scored by.

    Attributes:
        models: Who teaches and who learns.
        cache: Where the teacher's answers are kept.
        data: Which rows.
        args: How.
    """

    models: ModelArguments
    cache: TeacherCacheArguments
    data: DataArguments
    args: DistillationTrainingArguments

    def changed(self, changes: Mapping[str, Any], where: str) -> RunSettings:
        """The same with some arguments changed; what no longer teaches rows without a label leaves them out.

        Args:
            changes: Values by the name of the argument, as YAML holds them; None gives back the default.
            where: Who asks for that, for messages.

        Raises:
            InputError: There is no such argument, or the changed ones cannot work.
        """
        parser = ArgumentsParser(tuple(_PARTS.values()))
        owners = {field.name: part for part, kind in _PARTS.items() for field in init_fields(kind)}
        by_part: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        for name, value in changes.items():
            if name not in owners:
                raise InputError(f"{where} sets {name}, which is not an argument; {suggest(name, owners)}")
            by_part[owners[name]][name] = _read(parser, name, value, where)
        try:
            parts = {part: dataclasses.replace(getattr(self, part), **values) for part, values in by_part.items()}
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        return RunSettings(**parts)._without_idle_rows()

    def _without_idle_rows(self) -> RunSettings:
        if self.args.objective().needs_teacher or not self.data.transfer_options:
            return self
        defaults = {field.name: _default(field) for field in dataclasses.fields(TransferArguments)}
        return dataclasses.replace(self, data=dataclasses.replace(self.data, **defaults))

    @property
    def shaping(self) -> dict[str, Any]:
        """All that decides a score, but for the seed; fit for JSON."""
        told = run_settings(self.args, self.models, self.data)
        names = _LENGTH + (_CHOOSES_THE_BEST_STEP if self.args.load_best_model_at_end else ())
        lengths = {name: told["training"][name] for name in names}
        shaping = {**what_it_starts_from(told), **what_shapes_training(told), **lengths}
        shaping["teacher_cache_dtype"] = self.cache.teacher_cache_dtype
        return {name: value for name, value in shaping.items() if name not in _CHANGE_NO_SCORE}


def _read(parser: ArgumentsParser, name: str, value: Any, where: str) -> Any:
    if value is None:
        return _default(parser.fields[name])
    if isinstance(value, list):
        value = [item if isinstance(item, (str, dict)) else str(item) for item in value]
        if any(isinstance(item, dict) for item in value):
            return value
    elif not isinstance(value, dict):
        value = str(value)
    return parser.read(name, Setting(value, f"{where}: {name}"))


def _default(field: dataclasses.Field) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
