"""Models whose attention cannot be recorded are told so, before training or at the latest on the first forward."""

import pytest
import torch
from attention_recording.attention_models import CASES_BY_NAME, DEBERTA, GEMMA
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AlbertModel,
    AttentionInterface,
    BertConfig,
    BertModel,
    BloomConfig,
    BloomModel,
    CLIPConfig,
    CLIPModel,
    DebertaConfig,
    DebertaModel,
    GptOssConfig,
    GptOssModel,
    MllamaTextConfig,
    MllamaTextModel,
    ResNetConfig,
    ResNetForImageClassification,
    T5EncoderModel,
)

from hf_distill.attention_recording import check_attention, recording_attention
from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape
from hf_distill.signal_needs import SignalNeeds

QUERIES = SignalNeeds(queries=frozenset({1}))
SCORES = SignalNeeds.scores(frozenset({1}))


def resnet() -> ResNetForImageClassification:
    return ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))


def albert() -> AlbertModel:
    return AlbertModel(
        AlbertConfig(
            vocab_size=99,
            embedding_size=16,
            hidden_size=32,
            num_attention_heads=4,
            intermediate_size=37,
            num_hidden_layers=4,
        )
    )


def bloom() -> BloomModel:
    return BloomModel(BloomConfig(vocab_size=99, hidden_size=32, n_head=4, n_layer=2))


def deberta_v1() -> DebertaModel:
    return DebertaModel(DebertaConfig(vocab_size=99, hidden_size=32, num_attention_heads=4, num_hidden_layers=2))


def gpt_oss() -> GptOssModel:
    return GptOssModel(
        GptOssConfig(
            vocab_size=99,
            hidden_size=32,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            intermediate_size=16,
            num_hidden_layers=2,
            num_local_experts=2,
            num_experts_per_tok=1,
            pad_token_id=0,
            layer_types=["full_attention", "full_attention"],
        )
    )


def cross_attending() -> MllamaTextModel:
    """The second of its three layers looks at an image alone."""
    settings = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 37}
    settings |= {"num_hidden_layers": 3, "cross_attention_layers": [1], "vocab_size": 99, "pad_token_id": 0}
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    return MllamaTextModel(MllamaTextConfig(**settings, rope_parameters=rope))


def clip() -> CLIPModel:
    small = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 37}
    return CLIPModel(CLIPConfig(text_config={**small, "vocab_size": 99}, vision_config={**small, "image_size": 32}))


@pytest.mark.parametrize(
    ("build", "needs", "reason"),
    [
        (resnet, QUERIES, "No attention was found in ResNetForImageClassification"),
        (albert, QUERIES, "AlbertModel applies one layer many times"),
        (bloom, QUERIES, "No attention was found in BloomModel"),
        (deberta_v1, QUERIES, "No attention was found in DebertaModel"),
        (cross_attending, SignalNeeds(keys=frozenset({2})), "Layer 2 of MllamaTextModel has no self-attention"),
        (DEBERTA.build, SCORES, "adds disentangled terms"),
        (GEMMA.build, SCORES, "soft-caps"),
        (gpt_oss, SCORES, "sinks"),
        (lambda: nn.Sequential(nn.Linear(3, 3)), QUERIES, "No attention was found in Sequential"),
        (CASES_BY_NAME["Bert"].build, SignalNeeds(keys=frozenset({4})), "BertModel has layers 1 to 3"),
        (CASES_BY_NAME["Bert"].build, SignalNeeds(keys=frozenset({0})), "BertModel has layers 1 to 3"),
    ],
)
def test_refused_before_training(build, needs: SignalNeeds, reason: str) -> None:
    model = build()
    with pytest.raises(InputError, match=reason) as refused:
        check_attention(model, needs)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=reason), recording_attention(model, needs):
        raise AssertionError("the context must not open")
    check_attention(model, SignalNeeds(hidden_states=frozenset({1})))


@pytest.mark.parametrize("build", [DEBERTA.build, GEMMA.build, gpt_oss])
def test_models_without_plain_scores_hand_over_their_heads(build) -> None:
    check_attention(build(), SignalNeeds(queries=frozenset({1, 2}), keys=frozenset({1}), values=frozenset({2})))


@pytest.mark.parametrize("name", [*CASES_BY_NAME])
def test_known_models_pass(name: str) -> None:
    scores_are_plain = name not in ("DebertaV2", "Gemma2")
    check_attention(CASES_BY_NAME[name].build(), SCORES if scores_are_plain else QUERIES)


def test_reentrant_checkpointing_is_refused() -> None:
    model = CASES_BY_NAME["Bert"].build().train()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(InputError, match="reentrant"):
        check_attention(model, QUERIES)
    check_attention(model.eval(), QUERIES)


def test_a_layer_that_did_not_run_is_an_error() -> None:
    model = CASES_BY_NAME["Bert"].build()
    with pytest.raises(InputError, match="layer 2 in BertModel was asked for and left nothing"):
        with recording_attention(model, SignalNeeds(keys=frozenset({1, 2}))):
            layers = model.encoder.layer
            model.encoder.layer = layers[:1]
            CASES_BY_NAME["Bert"].run(model)


def test_an_error_inside_is_not_hidden_by_what_is_missing() -> None:
    with pytest.raises(ZeroDivisionError), recording_attention(CASES_BY_NAME["Bert"].build(), QUERIES):
        raise ZeroDivisionError


def test_a_second_forward_is_an_error() -> None:
    case = CASES_BY_NAME["Bert"]
    model = case.build()
    with pytest.raises(InputError, match="ran twice"), recording_attention(model, QUERIES):
        case.run(model)
        case.run(model)


class LoopedBert(BertModel):
    """Applies its layers twice."""

    def forward(self, input_ids: Tensor) -> Tensor:
        once = super().forward(input_ids).last_hidden_state
        return super().forward(inputs_embeds=once).last_hidden_state


def test_a_layer_applied_twice_is_an_error() -> None:
    config = BertConfig(
        num_hidden_layers=2, hidden_size=32, num_attention_heads=4, intermediate_size=37, vocab_size=99
    )
    model = LoopedBert(config)
    with pytest.raises(InputError, match="LoopedBert ran twice"), recording_attention(model, QUERIES):
        model(torch.tensor([[3, 4, 5]]))


def test_a_layer_listed_twice_is_refused() -> None:
    model = CASES_BY_NAME["Bert"].build()
    model.encoder.layer = nn.ModuleList([model.encoder.layer[0]] * 3)
    with pytest.raises(InputError, match="one layer many times"):
        check_attention(model, QUERIES)


class BiasInTheMask(nn.Module):
    """A model of one's own around BERT that adds a position bias to the mask."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bert = CASES_BY_NAME["Bert"].build()
        self.bias = bias

    def forward(self, input_ids: Tensor) -> Tensor:
        mask = torch.full((1, 1, 3, 3), self.bias).tril() + torch.full((3, 3), torch.finfo().min).triu(1)
        return self.bert(input_ids, attention_mask=mask).last_hidden_state


def test_scores_with_a_bias_in_the_mask_are_refused_and_plain_masks_are_not() -> None:
    tokens = torch.tensor([[3, 4, 5]])
    with pytest.raises(InputError, match="mixed with its mask"):
        biased = BiasInTheMask(-1.5)
        with recording_attention(biased, SCORES):
            biased(tokens)
    with recording_attention(biased, QUERIES) as signals:
        biased(tokens)
    assert signals[1].query.shape == (1, 4, 3, 8)
    plain = BiasInTheMask(0.0)
    with recording_attention(plain, SCORES) as signals:
        plain(tokens)
    assert set(signals) == {1}


def test_a_soft_cap_that_only_the_call_shows_is_refused() -> None:
    eager = AttentionInterface().get_interface("sdpa", None)
    AttentionInterface.register("ignores_cap", lambda *args, softcap=None, **kwargs: eager(*args, **kwargs))
    model = CASES_BY_NAME["Bert"].build("ignores_cap")
    with pytest.raises(InputError, match="softcap"), recording_attention(model, SCORES):
        model(torch.tensor([[3, 4, 5]]), softcap=30.0)


@pytest.mark.parametrize(
    ("build", "number"),
    [
        (CASES_BY_NAME["Bert"].build, 3),
        (CASES_BY_NAME["Bart"].build, 3),
        (CASES_BY_NAME["T5"].build, 3),
        (CASES_BY_NAME["MPNet"].build, 3),
        (CASES_BY_NAME["ViT"].build, 3),
        (lambda: T5EncoderModel(CASES_BY_NAME["T5"].build().config), 2),
        (albert, 4),
        (bloom, 2),
        (resnet, None),
        (lambda: nn.Linear(2, 2), None),
    ],
)
def test_layers_are_counted_as_hidden_states_are(build, number: int | None) -> None:
    assert ModelShape.of(build()).layers == number


def test_of_several_stacks_that_of_the_texts_model_is_taken() -> None:
    model = clip()
    with recording_attention(model, QUERIES) as signals:
        tokens = torch.tensor([[3, 4, 5]])
        with torch.no_grad():
            model.get_text_features(input_ids=tokens)
    assert signals[1].query.shape[2] == 3


def test_cross_attention_is_not_recorded() -> None:
    case = CASES_BY_NAME["Bert"]
    model = case.build(is_decoder=True, add_cross_attention=True)
    with recording_attention(model, QUERIES | SignalNeeds(keys=frozenset({1}))) as signals:
        model(torch.tensor([[3, 4, 5]]), encoder_hidden_states=torch.randn(1, 5, 32))
    assert signals[1].key.shape == (1, 4, 3, 8)
