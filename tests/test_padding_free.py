"""Sequences joined into one row teach what padded ones teach, and models that would mix them are refused."""

import pytest
import torch
from accelerate import Accelerator
from conftest import PaddingCollator, random_rows, tiny_bert
from tiny_tasks import own_tokens, tiny_gpt2, tiny_llama, tiny_t5
from torch.nn import functional as F
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    BertForMaskedLM,
    BertForTokenClassification,
    DataCollatorWithFlattening,
    GPT2ForSequenceClassification,
    TrainerCallback,
)
from transformers.masking_utils import sdpa_mask

from hf_distill import DistillationTrainer
from hf_distill.errors import InputError
from hf_distill.padding_free import check_keeps_sequences_apart, check_nothing_is_repeated
from hf_distill.teachers.live_teacher import LiveTeacher


def attention_by_boundaries(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **kwargs):
    """What flash attention computes, which needs a GPU: each sequence on its own, cut where the boundaries say."""
    ends = kwargs.get("cu_seq_lens_q")
    if ends is None:
        answer = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scaling)
    else:
        sizes = torch.diff(ends).tolist()
        parts = zip(*(states.split(sizes, dim=2) for states in (query, key, value)), strict=True)
        answer = torch.cat([F.scaled_dot_product_attention(*part, scale=scaling) for part in parts], dim=2)
    return answer.transpose(1, 2), None


AttentionInterface.register("by_boundaries", attention_by_boundaries)
AttentionMaskInterface.register("by_boundaries", sdpa_mask)


def tokens_of_bert(**options):
    return tiny_bert(cls=BertForTokenClassification, attn_implementation="by_boundaries", **options)


def labelled_tokens(count):
    """The first token has no label: no joined row has one there."""
    rows = random_rows(count, per_token=True)
    return rows.map(lambda row: {"labels": [-100, *row["labels"][1:-1], 1]})


TASKS = {
    "Llama": (tiny_llama, own_tokens, DataCollatorWithFlattening()),
    "GPT-2": (tiny_gpt2, own_tokens, DataCollatorWithFlattening()),
    "BERT, by boundaries": (
        tokens_of_bert,
        labelled_tokens,
        DataCollatorWithFlattening(return_flash_attn_kwargs=True),
    ),
}


class Recorder(TrainerCallback):
    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))


def make_trainer(make_arguments, build, rows, collator, recorder=None, **arguments):
    return DistillationTrainer(
        model=build(layers=1),
        teacher_model=build(layers=2, seed=1),
        args=make_arguments(
            per_device_train_batch_size=3,
            gradient_accumulation_steps=2,
            num_train_epochs=1,
            logging_steps=1,
            **{"hidden_state_weight": 1.0, **arguments},
        ),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=collator,
        callbacks=[] if recorder is None else [recorder],
    )


@pytest.mark.parametrize("name", TASKS)
def test_losses_and_gradients_are_those_of_padded_batches(make_arguments, name):
    build, make_rows, joining = TASKS[name]
    found = {}
    for collator in (PaddingCollator(), joining):
        recorder = Recorder()
        trainer = make_trainer(make_arguments, build, make_rows(14), collator, recorder)
        trainer.train()
        terms = ("loss", "soft_target_loss", "hard_target_loss", "hidden_state_loss")
        logs = [[log[term] for term in terms] for log in trainer.state.log_history if "loss" in log]
        found[type(collator)] = (torch.tensor(logs), torch.stack(recorder.gradients), trainer.evaluate()["eval_loss"])
        assert len(logs) == 3
    padded, joined = found.values()
    torch.testing.assert_close(joined[0], padded[0], rtol=1e-4, atol=1e-6)
    assert ((joined[1] - padded[1]).norm(dim=1) / padded[1].norm(dim=1)).max() < 1e-4
    assert joined[2] == pytest.approx(padded[2], rel=1e-5)


REFUSED = {
    "BERT, tokens": (lambda: tiny_bert(cls=BertForTokenClassification), "BertForTokenClassification .*sdpa.* attends"),
    "BERT, eager": (lambda: tiny_bert(cls=BertForMaskedLM, attn_implementation="eager"), "eager.* attends"),
    "BERT, boundaries unknown": (tokens_of_bert, "by_boundaries.* attends"),
    "BERT, one answer": (tiny_bert, "BertForSequenceClassification .* one answer for each row"),
    "GPT-2, one answer": (lambda: tiny_gpt2(GPT2ForSequenceClassification, num_labels=3), "one answer for each row"),
    "T5": (tiny_t5, "takes no position_ids"),
}


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED)
def test_a_student_that_mixes_sequences_is_refused(make_arguments, build, message):
    with pytest.raises(InputError, match=message) as caught:
        DistillationTrainer(
            model=build(),
            args=make_arguments(soft_target_weight=0),
            data_collator=DataCollatorWithFlattening(),
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED)
def test_so_is_such_a_teacher(build, message):
    teacher = LiveTeacher(build())
    teacher.prepare(Accelerator(cpu=True), torch.device("cpu"))
    with pytest.raises(InputError, match=message):
        teacher.collator(DataCollatorWithFlattening())
    padding = PaddingCollator()
    assert teacher.collator(padding) is padding


def test_a_teacher_is_asked_before_training(make_arguments):
    trainer = DistillationTrainer(
        model=tiny_llama(),
        teacher_model=tiny_bert(cls=BertForMaskedLM),
        args=make_arguments(),
        train_dataset=own_tokens(6),
        data_collator=DataCollatorWithFlattening(),
    )
    with pytest.raises(InputError, match="BertForMaskedLM .* attends"):
        trainer.train()


def test_a_cache_of_keys_would_mix_sequences(make_arguments):
    """transformers joins the keys of all sequences then, whatever the positions."""
    with pytest.raises(InputError, match="attends"):
        make_trainer(make_arguments, tiny_llama, own_tokens(6), DataCollatorWithFlattening(), use_cache=True)


def test_asking_leaves_no_trace():
    model = tiny_llama().train()
    model.config.use_cache = False
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    state = torch.get_rng_state()
    check_keeps_sequences_apart(model, DataCollatorWithFlattening(), Accelerator(cpu=True))
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())


def test_repeated_sequences_are_refused():
    joining = DataCollatorWithFlattening()
    with pytest.raises(InputError, match="2 processes.* dataloader_drop_last"):
        check_nothing_is_repeated(joining, 2, drops_last=False)
    check_nothing_is_repeated(joining, 2, drops_last=True)
    check_nothing_is_repeated(joining, 1, drops_last=False)
    check_nothing_is_repeated(PaddingCollator(), 2, drops_last=False)
