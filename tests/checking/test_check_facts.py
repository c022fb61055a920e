"""What a check says of models, rows and costs, against other ways to know it."""

import pytest
import torch
from conftest import PaddingCollator, random_rows, tiny_bert
from tiny_tasks import TASKS, collator_for, tiny_llama
from torch.utils.flop_counter import FlopCounterMode

from hf_distill import (
    AttentionTransfer,
    Contrast,
    DistillationObjective,
    DistillationTrainer,
    HardTargets,
    HiddenStates,
    Relations,
    SoftTargets,
    cache_teacher_outputs,
    create_student,
)
from hf_distill.checking import Background, check
from hf_distill.checking.model_facts import ModelFacts
from hf_distill.checking.objective_facts import in_words, layers_in_words
from hf_distill.checking.table import shortened
from hf_distill.schedules import Schedule

EVERYTHING = [
    HiddenStates(layer_mapping="auto"),
    AttentionTransfer(layer_mapping=[[2, 4]]),
    Relations(layer_mapping=[[2, 3]]),
]


def test_parameters_and_flops_are_those_that_torch_counts(new_trainer):
    teacher = tiny_bert()
    student = create_student(teacher)
    report = check(new_trainer(student=student, teacher=teacher))
    for facts, model in ((report.student, student), (report.teacher, teacher)):
        assert facts.parameters == sum(tensor.numel() for tensor in model.state_dict().values())
        model.set_attn_implementation("eager")
        tokens = torch.ones(1, report.rows.longest, dtype=torch.long)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(tokens)
        counted = counter.get_total_flops() / report.rows.longest
        assert facts.flops_per_token(report.rows.longest) == pytest.approx(counted, rel=1e-4)


def test_grouped_key_value_heads_are_told():
    model = tiny_llama()
    model.config.num_key_value_heads = 2
    facts = ModelFacts.of(type(model)(model.config))
    assert (facts.shape.attention_heads, facts.key_value_heads, facts.head_width) == (4, 2, 8)
    assert facts.labels is None and facts.vocabulary == 60


def test_a_student_of_the_teacher_s_layers_knows_which():
    assert ModelFacts.of(create_student(tiny_bert(layers=6), layers=[0, 3, 5])).made_of == (1, 4, 6)
    assert ModelFacts.of(tiny_bert()).made_of == ()


def test_rows_are_counted(new_trainer):
    rows = random_rows(20).map(lambda row, i: {"labels": -100 if i < 6 else row["labels"]}, with_indices=True)
    facts = check(new_trainer(rows=rows)).rows
    lengths = [len(tokens) for tokens in rows["input_ids"]]
    assert (facts.train, facts.unlabelled, facts.longest) == (20, 6, max(lengths))
    assert facts.mean == pytest.approx(sum(lengths) / 20)
    assert facts.full == lengths.count(max(lengths))


def test_labels_are_matched_by_name(new_trainer):
    teacher = tiny_bert(num_labels=3, id2label={0: "c", 1: "a", 2: "b"}, label2id={"c": 0, "a": 1, "b": 2})
    student = tiny_bert(layers=2, id2label={0: "A", 1: "B", 2: "C"}, label2id={"A": 0, "B": 1, "C": 2})
    report = check(new_trainer(student=student, teacher=teacher))
    assert report.labels.order == (1, 2, 0)
    assert "A, B, C; matched by name with the teacher's classes 1, 2, 0" in str(report)


def test_a_student_that_is_no_smaller_is_told(new_trainer):
    (warning,) = check(new_trainer(DistillationObjective([HardTargets(), SoftTargets()]), tiny_bert(seed=1))).warnings
    assert "it will be no smaller" in warning


def test_memory_of_attention_is_that_of_its_maps(new_trainer):
    """Per pair: the teacher's queries and keys, and of each model's scores what autograd keeps."""
    rows, heads, width = 8, 4, 8
    report = check(new_trainer(DistillationObjective([AttentionTransfer(layer_mapping=[[1, 2], [2, 4]])])))
    tokens = report.rows.longest
    (term,) = report.stages[0].terms
    signals = 2 * 2 * rows * heads * tokens * width * 4
    one_map = rows * heads * tokens**2 * 4
    assert signals + 2 * one_map <= term.memory <= signals + 2 * 4 * one_map
    assert term.touches == "student layers 1,2, teacher layers 2,4: queries, keys"


def test_memory_is_what_autograd_keeps_for_real_tensors(new_trainer):
    """The same on real rows of one length: kept with all terms less kept with the labels alone."""
    rows = random_rows(8).map(lambda row: {"input_ids": [5] * 12, "attention_mask": [1] * 12})

    def kept(terms):
        trainer = new_trainer(DistillationObjective(terms), rows=rows)
        trainer.model.train()
        storages = {}

        def pack(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            held.append(tensor)
            return tensor

        held = []
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            trainer.compute_loss(trainer.model, PaddingCollator()(list(rows)))
        return sum(storages.values())

    for extra in (HiddenStates(loss="mse", layer_mapping="auto"), Relations(layer_mapping=[[2, 3]])):
        report = check(new_trainer(DistillationObjective([HardTargets(), extra]), rows=rows))
        added = kept([HardTargets(), extra]) - kept([HardTargets()])
        # Of the teacher's relations only the maps are kept, and some of the student's parts are not kept without.
        assert report.stages[0].terms[1].memory == pytest.approx(added, rel=0.35)


def test_terms_that_pick_rows_by_value_are_counted_too(new_trainer):
    terms = [Contrast(), SoftTargets(loss="dist"), HardTargets()]
    assert all(term.memory > 0 for term in check(new_trainer(DistillationObjective(terms))).stages[0].terms)


def test_a_cache_takes_as_much_as_was_told(new_trainer, tmp_path):
    teacher, rows = tiny_bert(), random_rows(200)
    student = create_student(teacher)
    trainer = new_trainer(DistillationObjective([SoftTargets(), *EVERYTHING]), student, teacher, rows)
    told = check(trainer).cache_bytes * len(rows)
    cached = cache_teacher_outputs(
        teacher, rows, tmp_path / "cache", PaddingCollator(), needs=trainer.objective.teacher_needs
    )
    stored = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.safetensors"))
    assert told == pytest.approx(stored, rel=0.02)

    trainer = new_trainer(DistillationObjective([SoftTargets(), *EVERYTHING]), student, cached, rows)
    report = check(trainer)
    assert report.teacher.shape == ModelFacts.of(teacher).shape and report.teacher.parameters is None
    assert report.cache_bytes * len(rows) == told
    live = check(new_trainer(DistillationObjective([SoftTargets(), *EVERYTHING]), student, teacher, rows))
    for one, other in zip(report.batch.moments[0].terms, live.batch.moments[0].terms, strict=True):
        assert one.gradient == pytest.approx(other.gradient, rel=1e-3)
    background = Background(ModelFacts.of(teacher), "the same", ("something",))
    text = str(check(trainer, background))
    assert f"{teacher.num_parameters():,}" in text and "tokenizers     the same" in text and "something" in text


def test_projections_are_told_with_their_sizes(new_trainer):
    student = tiny_bert(layers=2, hidden_size=24, seed=1)
    report = check(new_trainer(DistillationObjective([HiddenStates(layer_mapping="auto")]), student))
    assert report.projections == {f"hidden_state_loss_{layer}": (24, 32) for layer in range(3)}
    assert "projection hidden_state_loss_1: 24 to 32 (800 weights)" in str(report)


def test_the_text_fits_into_100_columns(new_trainer):
    terms = [SoftTargets(weight=Schedule(1, 0.1, begin=0.25)), HardTargets(weight=1e4), *EVERYTHING, Contrast()]
    text = str(check(new_trainer(DistillationObjective(terms))))
    assert max(map(len, text.splitlines())) <= 100
    for part in ("Models", "Labels and rows", "teacher's layer", "Objective", "A cache", "One batch", "Ready, with"):
        assert part in text


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_checked(name, make_arguments):
    make_model, make_rows = TASKS[name]
    rows = make_rows(24)
    options = {"train_dataset": rows, "data_collator": collator_for(rows)}
    trainer = DistillationTrainer(make_model(seed=1), make_model(), make_arguments(), **options)
    report = check(trainer)
    assert all(term.gradient > 0 for term in report.batch.moments[0].terms)
    assert str(report)


def test_labels_alone_need_no_teacher(make_arguments):
    args = make_arguments(soft_target_weight=0.0)
    report = check(
        DistillationTrainer(tiny_bert(), args=args, train_dataset=random_rows(8), data_collator=PaddingCollator())
    )
    assert report.teacher is None and report.batch.moments[0].terms[0].gradient > 0
    assert str(report).endswith("Ready.")


def test_words():
    assert layers_in_words([12, 1, 2, 3, 6, 8, 9]) == "1-3,6,8,9,12"
    assert in_words(Schedule(8, 2, shape="step", begin=0.3)) == "8, from 30 % on 2"
    assert [shortened(number) for number in (7, 999, 1000, 12_345, 999_600, 2.5e9)] == [
        "7", "999", "1 k", "12.3 k", "1.00 M", "2.50 G",
    ]  # fmt: skip
