"""Which lists of layers are found, and which models are refused."""

import pytest
import transformers as hf

from hf_distill.errors import InputError
from hf_distill.students import create_student
from hf_distill.students.layer_stacks import find_layer_stacks

SMALL = {"vocab_size": 99, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 37}


def tiny_bert(**overrides):
    return hf.BertForSequenceClassification(hf.BertConfig(**{**SMALL, "num_hidden_layers": 4, **overrides}))


def tiny_bart(cls=hf.BartForConditionalGeneration, encoder_layers=4, decoder_layers=3):
    sizes = {"encoder_ffn_dim": 37, "decoder_ffn_dim": 37, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    counts = {"encoder_layers": encoder_layers, "decoder_layers": decoder_layers}
    return cls(hf.BartConfig(vocab_size=99, d_model=32, max_position_embeddings=64, **sizes, **counts))


def tiny_clip():
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 37, "projection_dim": 16}
    text = {"vocab_size": 99, "num_hidden_layers": 4, "max_position_embeddings": 64}
    vision = {"num_hidden_layers": 3, "image_size": 16, "patch_size": 8}
    return hf.CLIPModel(hf.CLIPConfig(text_config={**sizes, **text}, vision_config={**sizes, **vision}))


def test_the_count_is_told_from_other_integers_of_the_same_value():
    (stack,) = find_layer_stacks(tiny_bert(num_hidden_layers=4, num_attention_heads=4, type_vocab_size=4))
    assert (stack.name, stack.paths, stack.count_field) == ("encoder", ("bert.encoder.layer",), ("num_hidden_layers",))
    assert (stack.total, stack.per_layer_fields) == (4, ())


def test_one_layer_is_a_stack_too():
    (stack,) = find_layer_stacks(tiny_bert(num_hidden_layers=1))
    assert stack.total == 1


def test_encoder_and_decoder_are_counted_apart_also_when_equally_long():
    for layers in ((4, 3), (4, 4)):
        stacks = find_layer_stacks(tiny_bart(encoder_layers=layers[0], decoder_layers=layers[1]))
        assert [(stack.name, stack.paths[0], *stack.count_field, stack.total) for stack in stacks] == [
            ("encoder", "model.encoder.layers", "encoder_layers", layers[0]),
            ("decoder", "model.decoder.layers", "decoder_layers", layers[1]),
        ]


def test_a_decoder_on_its_own():
    (stack,) = find_layer_stacks(tiny_bart(hf.BartForCausalLM))
    assert (stack.paths, stack.count_field) == (("model.decoder.layers",), ("decoder_layers",))


def test_nested_configurations():
    stacks = find_layer_stacks(tiny_clip())
    assert [(stack.name, stack.paths[0], stack.count_field, stack.total) for stack in stacks] == [
        ("text_model", "text_model.encoder.layers", ("text_config", "num_hidden_layers"), 4),
        ("vision_model", "vision_model.encoder.layers", ("vision_config", "num_hidden_layers"), 3),
    ]


def test_parts_of_a_layer_in_parallel_lists():
    model = hf.XLMModel(hf.XLMConfig(vocab_size=99, emb_dim=32, n_layers=4, n_heads=4))
    (stack,) = find_layer_stacks(model)
    assert stack.paths == ("attentions", "layer_norm1", "ffns", "layer_norm2")
    student = create_student(model, layers=[1, 3])
    assert len(student.ffns) == len(student.layer_norm2) == 2
    assert student.ffns[1].lin1.weight.equal(model.ffns[3].lin1.weight)


def test_lists_that_go_with_the_count():
    windows = {"attention_window": [2, 2, 4, 4], "num_hidden_layers": 4}
    (stack,) = find_layer_stacks(hf.LongformerModel(hf.LongformerConfig(**SMALL, **windows)))
    assert stack.per_layer_fields == ("attention_window",)
    vision = hf.ViTModel(
        hf.ViTConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=[16, 16], patch_size=[8, 8]
        )
    )
    (stack,) = find_layer_stacks(vision)
    assert stack.per_layer_fields == ()


@pytest.mark.parametrize(("groups", "layers"), [(1, 4), (2, 4), (4, 4)])
def test_shared_layers_are_refused(groups, layers):
    config = hf.AlbertConfig(**SMALL, embedding_size=16, num_hidden_layers=layers, num_hidden_groups=groups)
    with pytest.raises(InputError, match="AlbertModel has no list of layers that num_hidden_layers .* counts"):
        create_student(hf.AlbertModel(config))


@pytest.mark.parametrize("depths", [[1, 1], [2, 2, 1, 1]])
def test_unequal_layers_are_refused(depths):
    heads = [2] * len(depths)
    config = hf.SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=depths, num_heads=heads, window_size=2)
    with pytest.raises(InputError, match="layers of .*encoder.layers in SwinForImageClassification are unequal"):
        create_student(hf.SwinForImageClassification(config), num_layers=1)


def test_blocks_counted_by_a_list_are_refused():
    config = hf.FunnelConfig(vocab_size=99, block_sizes=[1, 1, 1], d_model=32, n_head=4, d_head=8, d_inner=37)
    with pytest.raises(InputError, match="FunnelModel has no list of layers"):
        create_student(hf.FunnelModel(config))


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (tiny_bert, {"num_layers": 5}, "bert.encoder.layer: num_layers=5 is more than the 4 layers"),
        (tiny_bert, {"num_layers": 0}, "bert.encoder.layer: num_layers=0 leaves nothing"),
        (tiny_bert, {"layers": [0, 4]}, "names layer 4, but the 4 layers"),
        (tiny_bert, {"layers": [1, 1]}, "names layer 1 twice"),
        (tiny_bert, {"layers": [2, 1]}, "does not ascend"),
        (tiny_bert, {"num_layers": 1, "layers": [1]}, "both given"),
        (tiny_bert, {"layer_selection": "evenly"}, "choose one of alternate"),
        (tiny_bart, {"num_layers": 4}, "model.decoder.layers: num_layers=4 is more than the 3 layers"),
        (tiny_bart, {"num_layers": {"decodr": 1}}, "no stack of layers named 'decodr'; it has encoder, decoder"),
        (tiny_bart, {"num_layers": {"encoder": 1}, "layers": {"encoder": [0]}}, "both given"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(model, arguments, message):
    with pytest.raises(InputError, match=message) as raised:
        create_student(model(), **arguments)
    assert "\n" not in str(raised.value)


def test_each_stack_by_its_name():
    teacher = tiny_bart()
    student = create_student(teacher, num_layers={"decoder": 1}, layer_selection="last")
    assert student.config.distilled_from_layers == {"model.encoder.layers": [0, 1, 2, 3], "model.decoder.layers": [2]}
    student = create_student(teacher, layers={"encoder": [0, 3], "decoder": [1]})
    assert (student.config.encoder_layers, student.config.decoder_layers) == (2, 1)
    student = create_student(teacher, num_layers={"encoder": 1}, layers={"decoder": [0, 2]})
    assert student.config.distilled_from_layers == {"model.encoder.layers": [0], "model.decoder.layers": [0, 2]}
    student = create_student(teacher)
    assert student.config.distilled_from_layers == {"model.encoder.layers": [0, 2], "model.decoder.layers": [0, 2]}


def test_nested_counts_survive_saving(tmp_path):
    student = create_student(tiny_clip(), num_layers={"text_model": 2, "vision_model": 1})
    student.save_pretrained(tmp_path)
    config = hf.CLIPModel.from_pretrained(tmp_path).config
    assert (config.text_config.num_hidden_layers, config.vision_config.num_hidden_layers) == (2, 1)
    assert config.distilled_from_layers == {"text_model.encoder.layers": [0, 2], "vision_model.encoder.layers": [0]}
