"""What a recording leaves of the model, and what other recordings it stands."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from attention_recording.attention_models import CASES_BY_NAME
from transformers import AttentionInterface, PreTrainedModel

from hf_distill.attention_recording import recording_attention
from hf_distill.signal_needs import SignalNeeds

LAYERS = frozenset({1, 2, 3})
NEEDS = SignalNeeds.scores(LAYERS) | SignalNeeds(values=LAYERS)
KINDS = ["Bert", "T5", "MPNet", "DebertaV2"]


def needs_of(name: str) -> SignalNeeds:
    return SignalNeeds(queries=LAYERS, keys=LAYERS, values=LAYERS) if name == "DebertaV2" else NEEDS


def hooks_of(model: PreTrainedModel) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@contextmanager
def untouched(model: PreTrainedModel) -> Iterator[None]:
    configs = {name: module.config for name, module in model.named_modules() if hasattr(module, "config")}
    settings = model.config.to_dict()
    implementation = model.config._attn_implementation
    hooks = hooks_of(model)
    yield
    assert all(model.get_submodule(name).config is config for name, config in configs.items())
    assert model.config.to_dict() == settings
    assert model.config._attn_implementation == implementation
    assert hooks_of(model) == hooks


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_left_behind(name: str, tmp_path) -> None:
    case = CASES_BY_NAME[name]
    model = case.build()
    model.save_pretrained(tmp_path / "before")
    with untouched(model), recording_attention(model, needs_of(name)) as signals:
        case.run(model)
        model.save_pretrained(tmp_path / "while_open")
    recorded = dict(signals)
    case.run(model)
    assert signals == recorded
    saved = [(tmp_path / folder / "config.json").read_text() for folder in ("before", "while_open")]
    assert saved[0] == saved[1]


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_left_behind_after_an_error(name: str) -> None:
    case = CASES_BY_NAME[name]
    model = case.build()
    with untouched(model), pytest.raises(KeyError), recording_attention(model, needs_of(name)):
        case.run(model)
        raise KeyError


def test_an_error_in_the_attention_function_is_passed_on_and_the_model_restored() -> None:
    def failing(*args: object, **kwargs: object) -> None:
        raise RuntimeError("out of memory")

    AttentionInterface.register("failing", failing)
    model = CASES_BY_NAME["Bert"].build("failing")
    with untouched(model), pytest.raises(RuntimeError, match="out of memory"), recording_attention(model, NEEDS):
        CASES_BY_NAME["Bert"].run(model)


def test_an_attention_function_sees_its_own_name() -> None:
    names = []
    fused = AttentionInterface()["sdpa"]

    def by_name(module: torch.nn.Module, *args: object, **kwargs: object) -> object:
        names.append(module.config._attn_implementation)
        return fused(module, *args, **kwargs)

    AttentionInterface.register("by_name", by_name)
    model = CASES_BY_NAME["Bert"].build("by_name")
    with recording_attention(model, NEEDS), recording_attention(model, NEEDS) as signals:
        CASES_BY_NAME["Bert"].run(model)
    assert names == ["by_name"] * 3 and set(signals) == LAYERS


def test_without_needs_the_model_is_untouched_and_no_attention_map_computed(monkeypatch) -> None:
    case = CASES_BY_NAME["Bert"]
    model = case.build("sdpa")
    fused = torch.nn.functional.scaled_dot_product_attention
    calls = []
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: calls.append(1) or fused(*args, **kwargs),
    )
    softmaxes = []
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda *args, **kwargs: softmaxes.append(1))
    only_hidden_states = SignalNeeds(hidden_states=frozenset({1}))
    with recording_attention(model, only_hidden_states) as signals, untouched(model):
        assert all(m.config is model.config for m in model.modules() if hasattr(m, "config"))
        case.run(model)
    assert signals == {} and len(calls) == 3
    with recording_attention(model, NEEDS):
        output = case.run(model)
    assert len(calls) == 6 and not softmaxes and output.attentions is None


@pytest.mark.parametrize("name", KINDS)
def test_two_models_do_not_mix(name: str) -> None:
    case = CASES_BY_NAME[name]
    student, teacher = case.build(), case.build()
    with torch.no_grad():
        for weight in teacher.parameters():
            weight.mul_(1.5)
    for module in teacher.modules():
        if hasattr(module, "config"):
            module.config = student.config if module.config.to_dict() == student.config.to_dict() else module.config
    needs = needs_of(name)
    with recording_attention(student, needs) as alone_student:
        case.run(student)
    with recording_attention(teacher, needs) as alone_teacher:
        case.run(teacher)
    with recording_attention(student, needs) as of_student:
        with recording_attention(teacher, needs) as of_teacher:
            case.run(student)
            case.run(teacher)
    for layer in LAYERS:
        assert torch.equal(of_student[layer].query, alone_student[layer].query)
        assert torch.equal(of_teacher[layer].query, alone_teacher[layer].query)
        assert not torch.equal(of_student[layer].query, of_teacher[layer].query)


@pytest.mark.parametrize("name", KINDS)
def test_recordings_of_one_model_may_be_nested(name: str) -> None:
    case = CASES_BY_NAME[name]
    model = case.build()
    with untouched(model), recording_attention(model, SignalNeeds(queries=frozenset({1, 2}))) as outer:
        with recording_attention(model, SignalNeeds(values=frozenset({2, 3}))) as inner:
            case.run(model)
    assert set(outer) == {1, 2} and set(inner) == {2, 3}
    assert outer[2].query is not None and outer[2].value is None
    assert inner[2].value is not None and inner[2].query is None


def test_an_emptied_mapping_takes_a_further_forward() -> None:
    case = CASES_BY_NAME["Bert"]
    model = case.build()
    with recording_attention(model, NEEDS) as signals:
        case.run(model)
        first = dict(signals)
        signals.clear()
        case.run(model)
    assert set(signals) == LAYERS
    assert torch.equal(first[3].key, signals[3].key) and first[3].key is not signals[3].key


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
@pytest.mark.parametrize("name", ["Bert", "Llama", "T5", "DebertaV2"])
def test_gradient_checkpointing_gives_the_same_gradients(name: str, is_open: bool) -> None:
    """Also where the backward pass, which computes the layers again, runs in the open context."""
    case = CASES_BY_NAME[name]
    plain, checkpointed = case.build().train(), case.build().train()
    checkpointed.gradient_checkpointing_enable()
    gradients = []
    for model in (plain, checkpointed):
        torch.manual_seed(3)
        with recording_attention(model, needs_of(name)) as signals:
            output = case.run(model)[0]
            recorded = dict(signals)
            loss = output.square().mean() + sum(
                (s.query.square().mean() + s.key.square().mean() + s.value.square().mean()) for s in recorded.values()
            )
            if is_open:
                loss.backward()
        if not is_open:
            loss.backward()
        assert signals == recorded
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    assert set(gradients[0]) == set(gradients[1])
    for weight, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][weight], gradient)


@pytest.mark.parametrize(
    ("name", "implementation"),
    [
        ("Bert", "sdpa"),
        ("MPNet", "eager"),
        pytest.param("Bert", "eager", marks=pytest.mark.slow),
        pytest.param("T5", "sdpa", marks=pytest.mark.slow),
    ],
)
def test_compiled_models_are_recorded(name: str, implementation: str) -> None:
    case = CASES_BY_NAME[name]
    depth = {"num_layers": 1, "num_decoder_layers": 1} if name == "T5" else {"num_hidden_layers": 1}
    model, compiled = case.build(implementation, **depth), case.build(implementation, **depth)
    needs = SignalNeeds.scores(frozenset({1})) | SignalNeeds(values=frozenset({1}))
    expected = case.run(model)[0]
    with recording_attention(model, needs) as plain:
        case.run(model)
    torch._dynamo.reset()
    compiled.compile(backend="aot_eager")
    for is_recorded in (False, True, True, False, True):
        with recording_attention(compiled, needs if is_recorded else SignalNeeds()) as signals:
            output = case.run(compiled)[0]
        torch.testing.assert_close(output, expected)
        assert set(signals) == ({1} if is_recorded else set())
        for layer in signals:
            for part in ("query", "key", "value"):
                torch.testing.assert_close(getattr(signals[layer], part), getattr(plain[layer], part))
    signals[1].query.sum().backward()
    assert any(weight.grad is not None for weight in compiled.parameters())


def test_recording_compiles_once_and_into_one_graph() -> None:
    case = CASES_BY_NAME["Bert"]
    model = case.build("sdpa", num_hidden_layers=1)
    needs = SignalNeeds.scores(frozenset({1}))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model.compile(backend="eager", fullgraph=True)
    graphs = []
    for _ in range(6):
        with recording_attention(model, needs):
            case.run(model)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs == [1] * 6
