"""The examples of a whole optimiser step, for terms that compare examples with one another.

Such a term is not a sum over examples, so a gradient that does not depend on how a step is cut into micro-batches and
processes needs all of its examples at once. Each micro-batch computes the value on all of them, its own with and the
others without a gradient; the gradients of all micro-batches then add up to that of the whole. The others' come from
a forward without a gradient beforehand, with the same dropout, as in GradCache (Gao et al. 2021,
https://arxiv.org/abs/2101.06983, section 3.2); a step of a single micro-batch needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """What a term compares: a vector for each example, or whatever else is compared, that counts.

    Attributes:
        student: ``(examples, width)``.
        teacher: ``(examples, width)``, of the teacher's own width.
    """

    student: Tensor
    teacher: Tensor

    @classmethod
    def together(cls, parts: Sequence[Examples]) -> Examples:
        """All of them, one part after the other."""
        return cls(torch.cat([part.student for part in parts]), torch.cat([part.teacher for part in parts]))

    def detached(self) -> Examples:
        """The same without a gradient."""
        return Examples(self.student.detach(), self.teacher.detach())


class WholeStep:
    """The whole step as a micro-batch sees it; by itself, a step of this micro-batch alone."""

    def compare(self, name: str, own: Examples, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """This micro-batch's share of a term.

        Args:
            name: Of the term.
            own: Its examples.
            loss: The term as a function of all examples of the student and of the teacher, a scalar.

        Returns:
            A scalar. Over all micro-batches and processes the values add up to that of the whole step, and the
            gradients to its gradient.
        """
        others = self._others(name, own)
        everything = Examples.together([own, *others]) if others else own
        value = loss(everything.student, everything.teacher)
        share = len(own.student) / max(len(everything.student), 1)
        return value + (share - 1) * value.detach()

    def _others(self, name: str, own: Examples) -> list[Examples]:
        return []


class CollectedExamples(WholeStep):
    """Keeps a micro-batch's examples for the others and computes nothing."""

    def __init__(self) -> None:
        self.examples: dict[str, Examples] = {}

    def compare(self, name: str, own: Examples, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Keep them."""
        self.examples[name] = own.detached()
        return own.student.new_zeros(())


class WithOthers(WholeStep):
    """With the examples of the other micro-batches and processes.

    Args:
        others: By term.
    """

    def __init__(self, others: Mapping[str, list[Examples]]) -> None:
        self._by_term = others

    def _others(self, name: str, own: Examples) -> list[Examples]:
        return self._by_term[name]


class AcrossProcesses(WholeStep):
    """A step of one micro-batch on each of several processes, which exchange their examples as they compare.

    Args:
        accelerator: Knows the other processes.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator

    def _others(self, name: str, own: Examples) -> list[Examples]:
        return of_other_processes(own.detached(), self._accelerator)


class ExamplesOfStep:
    """Gives each micro-batch of an optimiser step the examples of the others.

    Args:
        accelerator: Knows the other processes.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._batches: list[dict[str, Any]] = []
        self._ready: list[WholeStep] = []

    def begin(self, batches: list[dict[str, Any]]) -> None:
        """Begin a step of these micro-batches, on this process."""
        self._batches, self._ready = batches, []

    def of_next_batch(self, collect: Callable[[dict[str, Any], WholeStep], None]) -> WholeStep:
        """What the next micro-batch is compared with.

        Args:
            collect: Runs the comparing terms on a micro-batch, with what keeps its examples.
        """
        if len(self._batches) < 2:
            return AcrossProcesses(self._accelerator)
        if not self._ready:
            self._ready = steps_with_others(self._collected(collect), self._accelerator)
        return self._ready.pop(0)

    def _collected(self, collect: Callable[[dict[str, Any], WholeStep], None]) -> list[CollectedExamples]:
        collected = [CollectedExamples() for _ in self._batches]
        device = self._accelerator.device
        # The forwards that follow start from the same random numbers, so that they draw the same dropout.
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for batch, examples in zip(self._batches, collected, strict=True):
                collect(batch, examples)
        return collected


def steps_with_others(collected: Sequence[CollectedExamples], accelerator: Accelerator) -> list[WholeStep]:
    """What each micro-batch of a step is to compare with, from what all of them keep."""
    elsewhere = {
        name: of_other_processes(Examples.together([part.examples[name] for part in collected]), accelerator)
        for name in collected[0].examples
    }
    return [
        WithOthers(
            {
                name: [part.examples[name] for other, part in enumerate(collected) if other != own] + others
                for name, others in elsewhere.items()
            }
        )
        for own in range(len(collected))
    ]


def of_other_processes(own: Examples, accelerator: Accelerator) -> list[Examples]:
    """The examples of all other processes, which each call this with theirs."""
    if accelerator.num_processes == 1:
        return []
    counts = accelerator.gather(torch.tensor([len(own.student)], device=own.student.device)).tolist()
    students, teachers = (_gathered(part, accelerator) for part in (own.student, own.teacher))
    return [
        Examples(students[process, :count], teachers[process, :count])
        for process, count in enumerate(counts)
        if process != accelerator.process_index
    ]


def _gathered(rows: Tensor, accelerator: Accelerator) -> Tensor:
    padded = accelerator.pad_across_processes(rows.contiguous(), dim=0)
    return accelerator.gather(padded).view(accelerator.num_processes, *padded.shape)
