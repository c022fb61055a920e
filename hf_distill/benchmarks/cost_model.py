"""FLOPs, bytes and seconds of a distillation as equations: with a live teacher, and with its outputs in a cache.

For a sequence of s tokens, W weights of linear maps that every token goes through, W1 that the sequence goes through
once, and attention of a width of A over all layers:

    forward   2 · (s · W + W1) + 4 · s² · A      (scores and their sum over the values: 2 · s² · A each)
    backward  twice that                         (gradients of the inputs and of the weights)
    step      3 · student + 1 · teacher          (without the teacher's part where its outputs are stored)

The first line is Kaplan et al. 2020, section 2.1 (https://arxiv.org/abs/2001.08361), and PaLM's appendix B
(https://arxiv.org/abs/2204.02311), which also defines model FLOPs utilisation: these FLOPs, over the seconds that they
took and the peak. Causal attention counts in full, as there. The bytes are explained at each function.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from transformers import PreTrainedModel

from hf_distill.benchmarks.hardware import Cluster
from hf_distill.benchmarks.model_shape import ModelShape
from hf_distill.teachers.cache.keys import KEY_BYTES

OFFSET_BYTES = 8
LOGITS_COPIES = 8
KERNELS_IN_A_LAYER = 25
LAUNCH_SECONDS = 5e-6


def forward_flops(shape: ModelShape, batch: int, sequence: float) -> float:
    """Of one forward.

    Args:
        shape: The model.
        batch: Sequences.
        sequence: Tokens of each, padding included.
    """
    linear = 2 * (sequence * shape.token_weights + shape.sequence_weights)
    return batch * (linear + 4 * sequence**2 * shape.attention_width)


def training_flops(
    student: PreTrainedModel | ModelShape,
    teacher: PreTrainedModel | ModelShape | None = None,
    *,
    batch: int,
    sequence: float,
) -> float:
    """Of one step: the student's forward and backward and, if there is one, a live teacher's forward.

    Args:
        student: A model, or its shape.
        teacher: The same; None where its outputs come from a cache.
        batch: Sequences of all processes.
        sequence: Tokens of each, padding included.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> student = BertForSequenceClassification(BertConfig(num_hidden_layers=6))
        >>> f"{training_flops(student, batch=16, sequence=128):.3g}"
        '5.36e+11'
    """
    flops = 3 * forward_flops(_shape(student), batch, sequence)
    return flops if teacher is None else flops + forward_flops(_shape(teacher), batch, sequence)


def measured_utilisation(flops: float, seconds: float, peak_flops: float) -> float:
    """Model FLOPs utilisation, to put in the place of the assumed one.

    Args:
        flops: Of a step, as ``training_flops`` counts them.
        seconds: What the step took.
        peak_flops: Operations a second of all devices together.
    """
    return flops / (seconds * peak_flops)


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes on each device while a student trains.

    Attributes:
        weights: The student's, in fp32, and under autocast their copies in half precision.
        gradients: In fp32.
        optimizer: AdamW's two moments in fp32.
        activations: What the forward keeps for the backward.
        logits: Those of the student and the teacher, and what the losses make of them.
        teacher: Its weights, and what its forward holds at once; 0 without a live teacher.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    teacher: float

    @property
    def total(self) -> float:
        """All together."""
        return sum(vars(self).values())


def training_memory(
    student: ModelShape, batch: int, sequence: float, precision: str, teacher: ModelShape | None = None
) -> TrainingMemory:
    """Of data-parallel training with AdamW, nothing sharded or recomputed.

    Weights, gradients and moments take 4 + 4 + 8 bytes a parameter, under autocast too. Logits take eight fp32 copies
    (student's and teacher's, tempered, their softmax, gradients), as measured on a masked language model.

    Args:
        student: Its shape.
        batch: Sequences on each device.
        sequence: Tokens of each, padding included.
        precision: ``fp32``, or ``fp16`` or ``bf16`` through autocast.
        teacher: A live teacher's shape; a bf16 run has its weights in bf16.
    """
    is_half = precision != "fp32"
    tokens = batch * sequence
    outputs = student.outputs * (tokens if student.per_token else batch)
    teacher_bytes = 0.0
    if teacher is not None:
        kept = teacher.parameters * (2 if precision == "bf16" else 4)
        teacher_bytes = kept + tokens * teacher.transient_values * (2 if is_half else 4)
    return TrainingMemory(
        weights=(4 + 2 * is_half) * student.parameters,
        gradients=4 * student.parameters,
        optimizer=8 * student.parameters,
        activations=tokens * activation_bytes(student, precision),
        logits=4 * LOGITS_COPIES * outputs,
        teacher=teacher_bytes,
    )


def activation_bytes(shape: ModelShape, precision: str) -> float:
    """What a forward keeps for the backward, for each token.

    For a layer of BERT with h wide states and i wide MLP this is 10 · h + 2 · i numbers: inputs and outputs of its six
    linear maps, the inputs of its norms or dropout's masks. It is Korthikanti et al. 2022, equation 1
    (https://arxiv.org/abs/2205.05198), without the scores of the attention, which fused kernels do not keep. The
    embeddings add 3 · h. Autocast halves what goes in and out of linear maps.
    """
    whole_values = shape.layer_values - shape.half_values + 3 * shape.hidden_size
    return 4 * whole_values + (4 if precision == "fp32" else 2) * shape.half_values


def cache_bytes(
    teacher: ModelShape,
    examples: int,
    tokens: float,
    value_bytes: int = 4,
    with_hidden_states: bool = False,
    kept: int | None = None,
) -> float:
    """On disk: the teacher's outputs over a data set and a key of 16 bytes for each row.

    Where something is stored for each token, each row has a place of 8 bytes too. Headers are some hundred bytes for
    each 64 MiB.

    Args:
        teacher: Its shape, whose logits are for each sequence or each token.
        examples: Rows, each different.
        tokens: The mean of a row, without padding.
        value_bytes: Of a stored number.
        with_hidden_states: The last hidden state of each token too.
        kept: Where a vocabulary's distribution is stored as its top-k and samples: how many of both, each token's id
            and probability in 4 + 4 bytes, and the distribution's entropy in 4; None for whole distributions.
    """
    logits = teacher.outputs * value_bytes if kept is None else 8 * kept + 4
    row = KEY_BYTES + logits * (tokens if teacher.per_token else 1)
    if with_hidden_states:
        row += tokens * teacher.hidden_size * value_bytes
    if teacher.per_token or with_hidden_states:
        row += OFFSET_BYTES
    return examples * row


def all_reduce_seconds(parameters: int, cluster: Cluster) -> float:
    """Of the fp32 gradients once round the ring of all devices; a bound from above, since backward overlaps with it.

    Each of N devices sends 2 · (N - 1) / N of them.
    """
    return 2 * (cluster.devices - 1) / cluster.devices * 4 * parameters / cluster.bandwidth


def optimizer_seconds(parameters: int, cluster: Cluster) -> float:
    """Of clipping and AdamW, which only move memory: 40 bytes a parameter.

    The gradient is read for its norm, read and written for the clipping; then weight, gradient and two moments are
    read, and all but the gradient written.
    """
    return (3 + 4 + 3) * 4 * parameters / (1e9 * cluster.hardware.memory_bandwidth)


@dataclass(frozen=True)
class Workload:
    """What is to be learned.

    Attributes:
        examples: Rows.
        tokens: The mean of a row.
        epochs: Times through them.
        batch: Rows of a step on each device.
        padding: Tokens with padding over tokens without.
    """

    examples: int
    tokens: float
    epochs: float = 3
    batch: int = 32
    padding: float = 1.0


@dataclass(frozen=True)
class Hours:
    """Of a whole training.

    Attributes:
        live: The teacher runs in every step.
        first: The cache is built first.
        second: It is there already.
    """

    live: float
    first: float
    second: float


def training_hours(
    student: ModelShape,
    teacher: ModelShape,
    work: Workload,
    cluster: Cluster,
    precision: str,
    utilisation: float | None = None,
) -> Hours:
    """FLOPs over peak and utilisation; for each step the optimiser's time, and the exchange of gradients.

    The cache is built without padding, since its rows are sorted by length, each process doing its share.

    Args:
        student: Its shape.
        teacher: Its shape.
        work: What is to be learned.
        cluster: On what.
        precision: A precision that it has.
        utilisation: The part of the peak that a measured step used, its optimiser included; when None, the part that
            is assumed for forward and backward, and the optimiser comes on top.
    """
    used = cluster.utilisation(precision) if utilisation is None else utilisation
    flops_per_hour = 3600 * used * cluster.devices * cluster.peak_flops(precision)
    padded = work.tokens * work.padding
    steps = ceil(work.examples / (work.batch * cluster.devices)) * work.epochs
    per_step = all_reduce_seconds(student.parameters, cluster)
    if utilisation is None:
        per_step += optimizer_seconds(student.parameters, cluster)
    rows = work.examples * work.epochs
    second = rows * training_flops(student, batch=1, sequence=padded) / flops_per_hour + steps * per_step / 3600
    return Hours(
        live=second + rows * forward_flops(teacher, 1, padded) / flops_per_hour,
        first=second + work.examples * forward_flops(teacher, 1, work.tokens) / flops_per_hour,
        second=second,
    )


def waits_for_launches(student: ModelShape, work: Workload, cluster: Cluster, precision: str) -> bool:
    """Whether steps are so small that a GPU is done before the host has launched the next kernel.

    Then the hours are far too few, and larger batches or ``torch.compile`` cost nothing. A layer's forward launches
    some 25 kernels of 5 microseconds each; these two are rules of thumb.
    """
    if cluster.is_cpu:
        return False
    tokens = work.batch * work.tokens * work.padding
    layer_flops = 2 * tokens * student.token_weights / student.num_layers
    seconds = layer_flops / (cluster.peak_flops(precision) * cluster.utilisation(precision))
    return seconds < KERNELS_IN_A_LAYER * LAUNCH_SECONDS


def _shape(model: PreTrainedModel | ModelShape) -> ModelShape:
    return model if isinstance(model, ModelShape) else ModelShape.of(model)
