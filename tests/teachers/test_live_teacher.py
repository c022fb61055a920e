import copy

import pytest
import torch
from accelerate import Accelerator
from conftest import VOCABULARY, tiny_bert
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration, set_seed

from hf_distill.model_wrappers import forward_parameters
from hf_distill.signal_needs import NOTHING_ELSE, SignalNeeds
from hf_distill.teachers import LiveTeacher


def random_batch():
    tokens = torch.randint(1, VOCABULARY, (3, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] * 5 + [0]])
    return {"input_ids": tokens, "attention_mask": mask, "token_type_ids": (torch.arange(6) > 2).long().expand(3, 6)}


def test_it_is_frozen_in_evaluation_mode_and_answers_without_a_graph():
    model = tiny_bert(dropout=0.5).train()
    teacher = LiveTeacher(model)
    teacher.prepare(Accelerator(cpu=True), torch.device("cpu"))
    assert not any(weight.requires_grad for weight in model.parameters())
    signals = teacher(random_batch())
    assert not model.training
    assert not signals.logits.requires_grad
    assert not signals.hidden_states and not signals.attention
    torch.testing.assert_close(signals.logits, teacher(random_batch()).logits, rtol=0, atol=0)


@pytest.mark.parametrize("part", ["", "bert", "bert.encoder.layer.0.output"])
def test_it_goes_back_to_evaluation_mode_when_someone_wakes_it(part):
    model = tiny_bert(dropout=0.5)
    teacher = LiveTeacher(model)
    expected = teacher(random_batch()).logits
    model.get_submodule(part).train()
    torch.testing.assert_close(teacher(random_batch()).logits, expected, rtol=0, atol=0)


def test_it_gets_what_its_forward_takes_and_no_labels():
    model = tiny_bert()
    batch = random_batch()
    expected = model(**batch).logits
    signals = LiveTeacher(model)({**batch, "labels": torch.tensor([99, 0, 0]), "unknown": torch.ones(3)})
    torch.testing.assert_close(signals.logits, expected, rtol=0, atol=0)


def test_its_classes_come_in_the_students_order():
    model = tiny_bert(3, id2label={0: "a", 1: "b", 2: "c"})
    expected = model(**random_batch()).logits
    teacher = LiveTeacher(model)
    teacher.pair_with(tiny_bert(3, id2label={0: "c", 1: "a", 2: "b"}), NOTHING_ELSE)
    logits = teacher(random_batch()).logits
    for row in range(3):
        assert logits[row].tolist() == [expected[row, 2].item(), expected[row, 0].item(), expected[row, 1].item()]


def test_its_hidden_states_are_counted_from_the_embeddings():
    model = tiny_bert()
    expected = {0: model.bert.embeddings(random_batch()["input_ids"], random_batch()["token_type_ids"])}
    expected[4] = model.bert(**random_batch()).last_hidden_state
    signals = LiveTeacher(model)(random_batch(), SignalNeeds(hidden_states=frozenset({0, 4})))
    assert set(signals.hidden_states) == {0, 4} and not signals.attention
    for layer, state in expected.items():
        torch.testing.assert_close(signals.hidden_states[layer], state)


def tiny_bart():
    set_seed(0)
    sizes = {"encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    ffn = {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 32}
    return BartForConditionalGeneration(BartConfig(vocab_size=VOCABULARY, d_model=16, **sizes, **ffn))


def tiny_t5():
    set_seed(0)
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
        )
    )


@pytest.mark.parametrize("build", [tiny_bart, tiny_t5])
def test_the_hidden_states_of_an_encoder_decoder_are_the_decoders(build):
    model = build().eval()
    last = LiveTeacher(model).shape.layers
    batch = {**random_batch(), "decoder_input_ids": torch.tensor([[2, 5], [2, 6], [2, 7]])}
    inputs = {name: value for name, value in batch.items() if name != "token_type_ids"}
    expected = (
        model.base_model(**inputs).last_hidden_state
        if build is tiny_bart
        else model(**inputs, output_hidden_states=True).decoder_hidden_states[-1]
    )
    signals = LiveTeacher(model)(batch, SignalNeeds(hidden_states=frozenset({last})))
    assert signals.hidden_states[last].shape == (3, 2, 16)
    torch.testing.assert_close(signals.hidden_states[last], expected)


def test_a_model_that_placed_itself_is_left_there():
    for mark in ({"hf_device_map": {"": "cpu"}}, {"is_quantized": True}):
        model = tiny_bert()
        expected = model(**random_batch()).logits
        for name, value in mark.items():
            setattr(model, name, value)
        model.to = None
        teacher = LiveTeacher(model)
        teacher.prepare(Accelerator(cpu=True), torch.device("meta"))
        assert {weight.device.type for weight in model.parameters()} == {"cpu"}
        torch.testing.assert_close(teacher(random_batch()).logits, expected, rtol=0, atol=0)


def test_a_model_spread_by_accelerate_with_parts_on_the_disk(tmp_path):
    from accelerate import dispatch_model

    model = tiny_bert()
    expected = model(**random_batch()).logits
    places = {"bert.embeddings": "disk", "bert.encoder": "cpu", "bert.pooler": "cpu", "classifier": "cpu"}
    dispatched = dispatch_model(copy.deepcopy(model), places, main_device="cpu", offload_dir=str(tmp_path))
    teacher = LiveTeacher(dispatched)
    teacher.prepare(Accelerator(cpu=True), torch.device("cpu"))
    signals = teacher(random_batch(), SignalNeeds(hidden_states=frozenset({4})))
    torch.testing.assert_close(signals.logits, expected)
    assert signals.hidden_states[4].device.type == "cpu"


def test_the_parameters_of_a_forward_are_read_by_name():
    names = forward_parameters(tiny_bert(layers=1))
    assert {"input_ids", "attention_mask", "token_type_ids"} <= names
    assert not {"self", "kwargs", "args"} & names


def test_a_compiled_teacher_gets_its_inputs_too():
    model = tiny_bert()
    expected = model(**random_batch()).logits
    logits = LiveTeacher(torch.compile(model, backend="eager"))(random_batch()).logits
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("build", [tiny_bart, tiny_t5])
def test_decoders_keep_no_keys_and_values(build):
    model, outputs = build(), []
    model.register_forward_hook(lambda module, args, output: outputs.append(output))
    LiveTeacher(model)({**random_batch(), "decoder_input_ids": torch.tensor([[2, 5], [2, 6], [2, 7]])})
    assert outputs[0].get("past_key_values") is None
    assert model.config.use_cache
