"""Nothing that is added to a training step waits for the device.

Trainer's own loop runs, and so do the models; what is watched is all that the trainer does between them. On the CPU
the calls that would wait for another device are forbidden; with a GPU, CUDA itself tells.
"""

from contextlib import contextmanager

import pytest
import torch
from conftest import random_rows, tiny_bert
from tiny_tasks import TASKS, collator_for
from torch.utils._python_dispatch import TorchDispatchMode

from hf_distill import DistillationTrainer, DistillationTrainingArguments

aten = torch.ops.aten
READS = ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "__array__")
"""Methods that bring values to the host."""
WAITS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.is_nonzero, aten._unique2}
"""Operators whose result, or its shape, the host has to know."""
UPLOADS = ("tensor", "as_tensor", "from_numpy")
"""Functions that make a tensor of the host's numbers, which waits when they go to the device."""
LOOKUPS = {aten.index, aten.index_put, aten.index_put_}


class Waited(Exception):
    pass


class OnTheCpu(TorchDispatchMode):
    """Raises where a device would be waited for."""

    def __init__(self):
        super().__init__()
        self.is_watching = False

    @contextmanager
    def watching(self, is_watching=True):
        before, self.is_watching = self.is_watching, is_watching
        try:
            yield
        finally:
            self.is_watching = before

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        for place, names in ((torch.Tensor, READS), (torch, UPLOADS)):
            for name in names:
                self.patch.setattr(place, name, self._checked(name, getattr(place, name)))
        return super().__enter__()

    def __exit__(self, *exception):
        super().__exit__(*exception)
        self.patch.undo()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if self.is_watching:
            packet = func.overloadpacket
            if packet in WAITS:
                raise Waited(str(func))
            if packet in LOOKUPS and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
                raise Waited(f"{func} with a mask")
            target = (kwargs or {}).get("device")
            if packet is aten._to_copy and target is not None and target != args[0].device:
                raise Waited(f"{func} to {target}")
        return func(*args, **(kwargs or {}))

    def _checked(self, name, function):
        def checked(*args, **kwargs):
            if self.is_watching:
                raise Waited(name)
            return function(*args, **kwargs)

        return checked


class OnCuda:
    """The same, where CUDA raises."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    @contextmanager
    def watching(self, is_watching=True):
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error" if is_watching else "default")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


class WatchedTrainer(DistillationTrainer):
    """Watched while it counts and while it computes a loss, save in the loader and in the two models."""

    def __init__(self, watch, mutation=None, **kwargs):
        super().__init__(**kwargs)
        self.watch, self.mutation, self.watched_calls = watch, mutation, 0
        for model in (self.model, self.teacher.model):
            self._pause_in(model)

    def _pause_in(self, model):
        pauses = []

        def pause(*args):
            pauses.append(self.watch.watching(False))
            pauses[-1].__enter__()

        def resume(*args):
            pauses.pop().__exit__(None, None, None)

        model.register_forward_pre_hook(pause)
        model.register_forward_hook(resume, always_call=True)

    def get_batch_samples(self, iterator, *args):
        with self.watch.watching():
            return super().get_batch_samples(self._loaded_unwatched(iterator), *args)

    def _loaded_unwatched(self, iterator):
        while True:
            with self.watch.watching(False):
                batch = next(iterator, None)
            if batch is None:
                return
            yield batch

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.watched_calls += 1
        with self.watch.watching():
            if self.mutation is not None:
                self.mutation(inputs)
            return super().compute_loss(model, inputs, *args, **kwargs)


def train(watch, folder, name, weights, mutation=None, without=(), **arguments):
    build, make_rows = TASKS[name]
    rows = make_rows(24).remove_columns(without)
    trainer = WatchedTrainer(
        watch,
        mutation,
        model=build(),
        teacher_model=build(layers=2, seed=1),
        args=DistillationTrainingArguments(
            str(folder),
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            per_device_train_batch_size=5,
            gradient_accumulation_steps=2,
            num_train_epochs=1,
            **dict(zip(("soft_target_weight", "hard_target_weight", "hidden_state_weight"), weights, strict=True)),
            **arguments,
        ),
        train_dataset=rows,
        data_collator=collator_for(rows),
    )
    with watch:
        trainer.train()
    assert trainer.watched_calls == 5


ALL_TERMS = (1, 1, 1)


@pytest.mark.parametrize("name", TASKS)
def test_a_step_calls_nothing_that_waits(tmp_path, name):
    train(OnTheCpu(), tmp_path, name, ALL_TERMS, use_cpu=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", TASKS)
def test_a_step_does_not_wait_for_cuda(tmp_path, name):
    train(OnCuda(), tmp_path, name, ALL_TERMS)


@pytest.mark.parametrize("name", ["classes", "score", "masked tokens", "next token, Llama", "images"])
def test_nor_without_labels(tmp_path, name):
    train(OnTheCpu(), tmp_path, name, (1, 0, 1), use_cpu=True, without="labels")


def test_nor_with_smoothed_labels(tmp_path):
    train(OnTheCpu(), tmp_path, "tokens", ALL_TERMS, use_cpu=True, label_smoothing_factor=0.1)


MUTATIONS = {
    "item": lambda batch: batch["input_ids"].sum().item(),
    "a list": lambda batch: batch["labels"].tolist(),
    "a copy to the host": lambda batch: batch["labels"].cpu(),
    "an array": lambda batch: batch["labels"].numpy(),
    "a condition": lambda batch: bool((batch["labels"] == -100).any()),
    "a mask as an index": lambda batch: batch["labels"][batch["labels"] > 0],
    "assignment by a mask": lambda batch: batch["labels"].clone().__setitem__(batch["labels"] > 0, 1),
    "nonzero": lambda batch: batch["labels"].nonzero(),
    "masked_select": lambda batch: batch["labels"].masked_select(batch["labels"] > 0),
    "equal": lambda batch: torch.equal(batch["labels"], batch["labels"]),
    "unique": lambda batch: batch["labels"].unique(),
    "numbers of the host": lambda batch: torch.tensor([1, 2]),
    "a copy to another device": lambda batch: batch["labels"].to("meta"),
}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
def test_what_waits_is_caught(tmp_path, mutation):
    with pytest.raises(Waited):
        train(OnTheCpu(), tmp_path, "classes", (1, 1, 0), mutation, use_cpu=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_catches_it_too(tmp_path):
    with pytest.raises(RuntimeError, match="synchroniz"):
        train(OnCuda(), tmp_path, "classes", (1, 1, 0), MUTATIONS["item"])


def test_classes_in_another_order(tmp_path):
    """Matching the teacher's classes to the student's needs their numbers on the device."""
    teacher = tiny_bert(layers=2, seed=1, id2label={0: "b", 1: "c", 2: "a"}, label2id={"b": 0, "c": 1, "a": 2})
    student = tiny_bert(id2label={0: "a", 1: "b", 2: "c"}, label2id={"a": 0, "b": 1, "c": 2})
    watch = OnTheCpu()
    trainer = WatchedTrainer(
        watch,
        model=student,
        teacher_model=teacher,
        args=DistillationTrainingArguments(str(tmp_path), report_to="none", use_cpu=True, max_steps=2),
        train_dataset=random_rows(8),
        data_collator=collator_for(random_rows(8)),
    )
    with watch:
        trainer.train()
