import pytest

from hf_distill.errors import InputError
from hf_distill.model_shape import ModelShape
from hf_distill.objectives import AttentionTransfer, Contrast, HiddenStates, Relations
from hf_distill.signal_needs import SignalNeeds

STUDENT, TEACHER = ModelShape(3, 32, 4), ModelShape(6, 32, 4)


@pytest.mark.parametrize(
    ("student", "teacher", "pairs"),
    [
        (3, 6, [(0, 0), (1, 2), (2, 4), (3, 6)]),
        (4, 12, [(0, 0), (1, 3), (2, 6), (3, 9), (4, 12)]),
        (2, 2, [(0, 0), (1, 1), (2, 2)]),
        (2, 3, [(0, 0), (1, 2), (2, 3)]),
        (1, 12, [(0, 0), (1, 12)]),
        (4, 2, [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2)]),
    ],
)
def test_auto_is_the_same_relative_depth(student, teacher, pairs):
    shapes = ModelShape(student), ModelShape(teacher)
    assert list(HiddenStates(layer_mapping="auto").resolved(*shapes).pairs) == pairs


def test_auto_begins_inside_the_layers_where_there_is_attention():
    for term in (AttentionTransfer(layer_mapping="auto"), Relations(layer_mapping="auto")):
        assert term.resolved(STUDENT, TEACHER).pairs == ((1, 2), (2, 4), (3, 6))


def test_last_and_pairs():
    for term in (HiddenStates(), AttentionTransfer(), Relations(), Contrast()):
        assert term.resolved(STUDENT, TEACHER).pairs == ((3, 6),)
    mapping = [[1, 5], [3, 2]]
    for kind in (HiddenStates, AttentionTransfer, Relations, Contrast):
        assert kind(layer_mapping=mapping).resolved(STUDENT, TEACHER).pairs == ((1, 5), (3, 2))


def test_the_embeddings_shared_with_hidden_states_have_no_attention():
    """One mapping is for both."""
    mapping = [[0, 0], [1, 2]]
    assert HiddenStates(layer_mapping=mapping).resolved(STUDENT, TEACHER).pairs == ((0, 0), (1, 2))
    assert AttentionTransfer(layer_mapping=mapping).resolved(STUDENT, TEACHER).pairs == ((1, 2),)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (HiddenStates(layer_mapping=[[4, 6]]), "layer_mapping asks for the student's layer 4.* 0 to 3"),
        (HiddenStates(layer_mapping=[[1, 2], [3, 7]]), "layer_mapping asks for the teacher's layer 7.* 0 to 6"),
        (HiddenStates(layer_mapping=[[-1, 2]]), "student's layer -1"),
        (AttentionTransfer(layer_mapping=[[0, 2]]), "student's layer 0.* 1 to 3.*no attention"),
        (AttentionTransfer(layer_mapping=[[1, 0]]), "teacher's layer 0.* 1 to 6.*no attention"),
        (Relations(layer_mapping=[[0, 0]]), "relation_mapping asks for the student's layer 0"),
        (Contrast(layer_mapping=[[9, 0]]), "contrast_mapping asks for the student's layer 9"),
    ],
)
def test_layers_that_are_not_there_are_named(term, message):
    with pytest.raises(InputError, match=message):
        term.resolved(STUDENT, TEACHER)


@pytest.mark.parametrize("mapping", ["first", [], [[1]], [[1, 2, 3]], [["a", "b"]], [[1.0, 2]], ["12"], [[True, 1]]])
def test_what_is_no_mapping_is_refused_at_once(mapping):
    with pytest.raises(InputError, match="layer_mapping is .*; write auto, last, or pairs"):
        HiddenStates(layer_mapping=mapping)


@pytest.mark.parametrize("shapes", [(ModelShape(), TEACHER), (STUDENT, ModelShape())])
def test_models_of_unknown_depth_need_pairs(shapes):
    which = "student" if shapes[0].layers is None else "teacher"
    for mapping in ("last", "auto"):
        with pytest.raises(InputError, match=f"the {which}'s configuration does not say.*write the pairs"):
            HiddenStates(layer_mapping=mapping).resolved(*shapes)
    assert HiddenStates(layer_mapping=[[1, 2]]).resolved(*shapes).pairs == ((1, 2),)


def test_an_attention_mapping_of_the_embeddings_alone_is_refused():
    with pytest.raises(InputError, match="no attention|layer_mapping"):
        AttentionTransfer(layer_mapping=[[0, 0]]).resolved(STUDENT, TEACHER)


def test_needs_follow_from_the_layers():
    states = HiddenStates(layer_mapping=[[0, 1], [2, 5]]).resolved(STUDENT, TEACHER)
    assert states.student_needs == SignalNeeds(hidden_states=frozenset({0, 2}))
    assert states.teacher_needs == SignalNeeds(hidden_states=frozenset({1, 5}))
    attention = AttentionTransfer(layer_mapping=[[2, 5]]).resolved(STUDENT, TEACHER)
    assert attention.student_needs == SignalNeeds.scores(frozenset({2}))
    minilm = Relations(relations=("query-key", "value-value"), layer_mapping=[[2, 5]]).resolved(STUDENT, TEACHER)
    five = frozenset({5})
    assert minilm.teacher_needs == SignalNeeds(queries=five, keys=five, values=five)
    values = Relations(relations=("value-value",), layer_mapping=[[2, 5]]).resolved(STUDENT, TEACHER)
    assert values.teacher_needs == SignalNeeds(values=five)
    assert states.teacher_needs | values.teacher_needs == SignalNeeds(hidden_states=frozenset({1, 5}), values=five)


def test_a_term_without_its_models_has_no_pairs():
    with pytest.raises(ValueError, match="not resolved"):
        _ = HiddenStates().pairs
