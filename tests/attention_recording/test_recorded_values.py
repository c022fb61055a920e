"""What is recorded is what the model computes its attention from."""

import pytest
import torch
from attention_recording.attention_models import CASES, DEBERTA, GEMMA, HEADS, LAYERS, Case
from torch import Tensor
from transformers import PreTrainedModel

from hf_distill.attention_recording import recording_attention
from hf_distill.attention_signals import AttentionSignals
from hf_distill.signal_needs import SignalNeeds

ALL_LAYERS = frozenset(range(1, LAYERS + 1))
EVERYTHING = SignalNeeds(queries=ALL_LAYERS, keys=ALL_LAYERS, values=ALL_LAYERS, position_biases=ALL_LAYERS)
HEADS_ONLY = SignalNeeds(queries=ALL_LAYERS, keys=ALL_LAYERS, values=ALL_LAYERS)
IMPLEMENTATIONS = [
    pytest.param(case, implementation, id=f"{case.name}-{implementation}")
    for case in (*CASES, DEBERTA, GEMMA)
    for implementation in case.implementations
]


def needs_of(case: Case) -> SignalNeeds:
    return HEADS_ONLY if case in (DEBERTA, GEMMA) else EVERYTHING


def record(model: PreTrainedModel, case: Case, needs: SignalNeeds | None = None) -> dict[int, AttentionSignals]:
    with recording_attention(model, needs or needs_of(case)) as signals:
        case.run(model)
    return signals


def probabilities(case: Case, signals: AttentionSignals) -> Tensor:
    """Attention from its definition, head by head: each group of query heads shares a key head."""
    group = signals.query.shape[1] // signals.key.shape[1]
    scores = torch.stack(
        [
            signals.query[:, head] @ signals.key[:, head // group].transpose(1, 2) * signals.scaling
            for head in range(signals.query.shape[1])
        ],
        dim=1,
    )
    if signals.position_bias is not None:
        scores = scores + signals.position_bias
    return scores.masked_fill(~case.may_attend(), float("-inf")).softmax(-1)


@pytest.mark.parametrize(("case", "implementation"), [p for p in IMPLEMENTATIONS if p.values[0] in CASES])
def test_the_models_own_attention_follows_from_what_was_recorded(case: Case, implementation: str) -> None:
    output = case.run(case.build("eager"), output_attentions=True)
    attentions = output.decoder_attentions if case.is_encoder_decoder else output.attentions
    signals = record(case.build(implementation), case)
    assert set(signals) == ALL_LAYERS
    has_bias = case.name in ("T5", "MPNet")
    for layer, attention in enumerate(attentions, start=1):
        assert signals[layer].query.shape[1] == HEADS
        assert (signals[layer].position_bias is not None) == has_bias
        assert attention.std() > 0.05  # far from uniform, so that the comparison can fail
        torch.testing.assert_close(probabilities(case, signals[layer]), attention, atol=1e-5, rtol=1e-4)


def test_position_biases_have_no_mask_in_them() -> None:
    for case in CASES:
        if case.name in ("T5", "MPNet"):
            bias = record(case.build(), case)[2].position_bias
            assert bias.shape[0] in (1, 2) and bias.shape[1:] == (HEADS, 7, 7)
            assert bias.abs().max() < 5 and bias.std() > 0.1


def test_values_make_the_attentions_output() -> None:
    (case,) = (case for case in CASES if case.name == "Bert")
    model = case.build()
    outputs = []
    handle = model.encoder.layer[1].attention.self.register_forward_hook(lambda *args: outputs.append(args[-1][0]))
    signals = record(model, case)[2]
    handle.remove()
    expected = (probabilities(case, signals) @ signals.value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(outputs[0], expected, atol=1e-5, rtol=1e-4)


def test_grouped_heads_are_recorded_as_they_are() -> None:
    (case,) = (case for case in CASES if case.name == "Llama")
    signals = record(case.build("sdpa"), case)[1]
    assert signals.query.shape == (2, 4, 7, 8)
    assert signals.key.shape == signals.value.shape == (2, 2, 7, 8)


def test_deberta_heads_are_projections_of_the_layers_input() -> None:
    model = DEBERTA.build()
    hidden_states = DEBERTA.run(model, output_hidden_states=True).hidden_states
    signals = record(model, DEBERTA)
    for layer in ALL_LAYERS:
        attention = model.encoder.layer[layer - 1].attention.self
        for kind in ("query", "key", "value"):
            weight = getattr(attention, f"{kind}_proj").weight.view(HEADS, 8, 32)
            bias = getattr(attention, f"{kind}_proj").bias.view(HEADS, 1, 8)
            expected = torch.einsum("bsw,hdw->bhsd", hidden_states[layer - 1], weight) + bias
            torch.testing.assert_close(getattr(signals[layer], kind), expected)
        assert signals[layer].scaling == pytest.approx((8 * 3) ** -0.5)


def test_gemmas_heads_are_recorded() -> None:
    signals = record(GEMMA.build(), GEMMA)
    assert signals[3].query.shape == (2, 4, 7, 8)
    assert signals[3].scaling == pytest.approx(GEMMA.build().config.query_pre_attn_scalar ** -0.5)


def test_only_what_is_asked_for_is_kept() -> None:
    (case,) = (case for case in CASES if case.name == "T5")
    needs = SignalNeeds(queries=frozenset({1}), values=frozenset({1, 3}), position_biases=frozenset({3}))
    signals = record(case.build("sdpa"), case, needs)
    assert set(signals) == {1, 3}
    assert signals[1].query is not None and signals[1].value is not None
    assert signals[1].key is None and signals[1].position_bias is None
    assert signals[3].query is None and signals[3].key is None
    assert signals[3].value is not None and signals[3].position_bias is not None


@pytest.mark.parametrize(("case", "implementation"), IMPLEMENTATIONS)
def test_the_forward_is_bit_equal_with_and_without_recording(case: Case, implementation: str) -> None:
    model = case.build(implementation).train()
    generator_state = torch.get_rng_state()
    plain = case.run(model)[0]
    torch.set_rng_state(generator_state)
    with recording_attention(model, needs_of(case)):
        recorded = case.run(model)[0]
    assert torch.equal(plain, recorded)


@pytest.mark.parametrize(("case", "implementation"), IMPLEMENTATIONS)
def test_gradients_flow_to_the_student(case: Case, implementation: str) -> None:
    model = case.build(implementation)
    signals = record(model, case)
    for part in (signals[2].query, signals[2].key, signals[2].value):
        gradients = torch.autograd.grad(
            part.square().sum(), list(model.parameters()), retain_graph=True, allow_unused=True
        )
        assert sum(gradient is not None and bool(gradient.any()) for gradient in gradients) > 3
