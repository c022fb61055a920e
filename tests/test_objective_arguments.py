"""The objective as a configuration and the command line describe it."""

import pytest

from hf_distill.arguments import DistillationTrainingArguments
from hf_distill.cli import parse_arguments
from hf_distill.errors import InputError
from hf_distill.objectives import (
    AttentionTransfer,
    Contrast,
    HardTargets,
    HiddenStates,
    Relations,
    Schedule,
    SoftTargets,
)


@pytest.fixture
def read(write, tmp_path):
    """The stages that a configuration and a command line give."""

    def stages_of(text="", *argv):
        path = write(f"output_dir: {tmp_path}\nuse_cpu: true\n{text}")
        (arguments,) = parse_arguments([DistillationTrainingArguments], [path, *argv])
        return list(arguments.objective().stages)

    return stages_of


@pytest.fixture
def terms(read):
    def terms_of(text="", *argv):
        (stage,) = read(text, *argv)
        return stage.objective.terms

    return terms_of


HALF = (SoftTargets(weight=0.5), HardTargets(weight=0.5))


def test_the_default(terms):
    assert terms() == HALF
    assert terms("soft_target_weight: 1e-1\nhard_target_weight: 0\ntemperature: 4") == (
        SoftTargets(weight=0.1, temperature=4.0),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "soft_target_loss: jensen_shannon\njensen_shannon_beta: 0.3\nweigh_by_confidence: yes\n",
            SoftTargets(weight=0.5, loss="jensen_shannon", beta=0.3, weigh_by_confidence=True),
        ),
        (
            "hidden_state_weight: 2\nhidden_state_loss: first_token\nlayer_mapping: auto",
            HiddenStates(weight=2.0, loss="first_token", layer_mapping="auto"),
        ),
        (
            "attention_weight: 1\nattention_loss: probabilities\nattention_heads: sum\n"
            "layer_mapping: [[1, 2], [2, 4]]",
            AttentionTransfer(weight=1.0, loss="probabilities", heads="sum", layer_mapping=[[1, 2], [2, 4]]),
        ),
        (
            "attention_weight: 1\nlayer_mapping:\n- [1, 2]\n- [2, 4]\n",
            AttentionTransfer(weight=1.0, layer_mapping=[[1, 2], [2, 4]]),
        ),
        ("relation_weight: 1", Relations(weight=1.0)),
        (
            "relation_weight: 1\nrelations: [query-key, value-value]\nrelation_heads: 8\nrelation_mapping: [[6, 10]]",
            Relations(weight=1.0, relations=("query-key", "value-value"), relation_heads=8, layer_mapping=[[6, 10]]),
        ),
        (
            "contrast_weight: 0.1\ncontrast_loss: similarity\ncontrast_pooling: first",
            Contrast(weight=0.1, loss="similarity", pooling="first"),
        ),
    ],
)
def test_each_kind_of_term(text, expected, terms):
    (found,) = [term for term in terms(text) if type(term) is type(expected)]
    assert found == expected


def test_the_mappings_of_hidden_states_and_relations_are_two(terms):
    weights = "hidden_state_weight: 1\nattention_weight: 1\nrelation_weight: 1\n"
    *_, states, attention, relations = terms(f"{weights}layer_mapping: auto\nrelation_mapping: [[2, 3]]")
    assert (states.layer_mapping, attention.layer_mapping) == ("auto", "auto")
    assert relations.layer_mapping == [[2, 3]]


def test_schedules(terms):
    soft, hard = terms(
        "temperature: {start: 8, end: 2, shape: cosine}\nsoft_target_weight:\n  start: 1\n  end: 1e-1\n  begin: 0.2\n"
    )
    assert soft == SoftTargets(weight=Schedule(1.0, 0.1, begin=0.2), temperature=Schedule(8.0, 2.0, shape="cosine"))
    assert hard == HardTargets(weight=0.5)


def test_the_command_line(terms):
    found = terms(
        "temperature: 3\nlayer_mapping: last",
        *("--temperature", "{start: 8, end: 2}"),
        *("--layer_mapping", "[[0, 0], [1, 2]]"),
        *("--hidden_state_weight", "{start: 1, end: 0, shape: step, begin: 0.3}"),
        *("--relations", "query-key", "value-value"),
        *("--relation_weight", "0.5"),
    )
    assert found == (
        SoftTargets(weight=0.5, temperature=Schedule(8.0, 2.0)),
        HardTargets(weight=0.5),
        HiddenStates(weight=Schedule(1.0, 0.0, shape="step", begin=0.3), layer_mapping=[[0, 0], [1, 2]]),
        Relations(weight=0.5, relations=("query-key", "value-value")),
    )
    assert terms("hidden_state_weight: 1", "--layer_mapping", "auto")[2].layer_mapping == "auto"


STAGES = """
temperature: 3
hidden_state_loss: mse
stages:
- share: 0.6
  name: layers
  hidden_state_weight: 1e-1
  layer_mapping: [[0, 0], [1, 2]]
  soft_target_weight: 0
  hard_target_weight: 0
- share: 0.4
  learning_rate: 1e-5
  weigh_by_confidence: no
  temperature: {start: 4, end: 1}
"""


def test_stages_set_what_differs(read):
    layers, answers = read(STAGES)
    assert (layers.share, layers.learning_rate, layers.name) == (0.6, None, "layers")
    assert layers.objective.terms == (HiddenStates(weight=0.1, loss="mse", layer_mapping=[[0, 0], [1, 2]]),)
    assert (answers.share, answers.learning_rate, answers.name) == (0.4, 1e-5, "stage 2")
    assert answers.objective.terms == (
        SoftTargets(weight=0.5, temperature=Schedule(4.0, 1.0)),
        HardTargets(weight=0.5),
    )


def test_stages_on_the_command_line(read):
    first, second = read("", "--stages", "[{share: 0.5, relation_weight: 1, relation_heads: 4}, {share: 0.5}]")
    assert first.objective.terms == (*HALF, Relations(weight=1.0, relation_heads=4))
    assert second.objective.terms == HALF


def test_label_smoothing_is_that_of_the_trainer(make_arguments):
    (stage,) = make_arguments(stages=[{"share": 1, "soft_target_weight": 0}]).objective(0.2).stages
    assert stage.objective.terms == (HardTargets(weight=0.5, label_smoothing=0.2),)


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("temperature: hot", "temperature is 'hot', but it takes a number or a mapping"),
        ("temperature: 0", "temperature is 0.0.*above 0"),
        ("temperature: {start: 8, end: 0}", "temperature is .*above 0"),
        ("temperature: {start: 8, end: nan}", "temperature: .*from 8.0 to nan"),
        ("contrast_weight: -1", "contrast_weight is -1.0.*0 or more"),
        ("soft_target_weight: {start: 1, end: -1}", "soft_target_weight is .*0 or more"),
        ("soft_target_weight: {start: 1}", "soft_target_weight is .*needs start and end"),
        ("soft_target_weight: {start: 1, end: x}", "soft_target_weight is .*a number is due"),
        ("soft_target_weight: {start: 1, end: 0, speed: 3}", "soft_target_weight is .*speed is unknown"),
        ("soft_target_weight: {start: 1, end: 0, shape: round}", "soft_target_weight: .*shape is 'round'.*linear"),
        ("soft_target_weight: {start: 1, end: 0, begin: 0.7, finish: 0.5}", "soft_target_weight: .*begins at 0.7"),
        ("soft_target_weight: 0\nhard_target_weight: 0", "contrast_weight are all 0"),
        ("soft_target_loss: kl", "soft_target_loss is 'kl', but it takes one of forward_kl"),
        ("jensen_shannon_beta: 1", "jensen_shannon_beta is 1.0"),
        ("hidden_state_loss: msee", "hidden_state_loss is 'msee'.*did you mean mse"),
        ("layer_mapping: first", "layer_mapping is 'first'; write auto, last, or pairs"),
        ("layer_mapping: [[1]]", r"layer_mapping is \[\[1\]\]"),
        ("layer_mapping: []", r"layer_mapping is \[\]"),
        ("layer_mapping: [[a, b]]", r"layer_mapping is \[\['a', 'b'\]\]"),
        ("relation_mapping: 3", "relation_mapping is '3'"),
        ("relations: [query-kee]", r"relations is \['query-kee'\]; name one or more"),
        ("relation_heads: 0", "relation_heads is 0; use 1 or more"),
        ("attention_loss: x", "attention_loss is 'x'"),
        ("attention_heads: all", "attention_heads is 'all'"),
        ("contrast_loss: x", "contrast_loss is 'x'"),
        ("contrast_pooling: last", "contrast_pooling is 'last'"),
        ("projection_learning_rate: fast", "projection_learning_rate is 'fast'"),
        ("stages: 3", "stages is '3', but it takes a list"),
        ("stages: [{}]", "Stage 1 does not say how long it lasts"),
        ("stages: [{share: x}]", "Stage 1: share is 'x', but it takes a number"),
        ("stages: [{share: 0.5}]", r"shares of the training are \[0.5\].*add up to 1"),
        ("stages: [{share: 0.5}, {share: 0.5, speed: 3}]", "Stage 2 sets speed, which a stage does not have"),
        ("stages: [{share: 1, stages: []}]", "Stage 1 sets stages"),
        ("stages: [{share: 1, temperature: 0}]", "Stage 1: temperature is 0"),
        ("stages: [{share: 1, soft_target_weight: x}]", "Stage 1: soft_target_weight is 'x', but it takes a number"),
        ("stages: [{share: 1, hidden_state_weight: -1}]", "Stage 1: hidden_state_weight is -1"),
        ("stages: [{share: 1, relation_heads: x}]", "Stage 1: relation_heads is 'x', but it takes a whole number"),
        ("stages: [{share: 1, weigh_by_confidence: x}]", "Stage 1: weigh_by_confidence is 'x'.*true or false"),
        ("stages: [{share: 1, hidden_state_loss: x}]", "Stage 1: hidden_state_loss is 'x'"),
        ("stages: [{share: 1, layer_mapping: [1]}]", "Stage 1: layer_mapping is"),
        ("stages: [{share: 1, learning_rate: x}]", "Stage 1: learning_rate is 'x', but it takes a number"),
        ("stages: [{share: 1, learning_rate: -1}]", "learning rates are .*0 or more"),
        ("stages: [{share: 1, soft_target_weight: 0, hard_target_weight: 0}]", "Stage 1: .*are all 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(text, mentions, read):
    with pytest.raises(InputError, match=mentions) as raised:
        read(text)
    assert "\n" not in str(raised.value)


def test_a_report_shows_what_matters_and_what_was_changed(make_arguments):
    shown = make_arguments(relation_weight=1.0, hard_target_weight=0.5).described_objective()
    assert shown == {"temperature": 2.0, "soft_target_weight": 0.5, "hard_target_weight": 0.5, "relation_weight": 1.0}
