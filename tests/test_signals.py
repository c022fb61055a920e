import pytest
import torch
from transformers.modeling_outputs import CausalLMOutput

from hf_distill.errors import InputError
from hf_distill.signal_needs import SignalNeeds
from hf_distill.signals import MixedLogits, Signals, SparseLogits


def random_logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sparse_logits(*shape, vocabulary, seed=0):
    generator = torch.Generator().manual_seed(seed)
    token_ids = torch.randint(0, vocabulary, shape, generator=generator, dtype=torch.int32)
    return SparseLogits(token_ids, torch.rand(shape, generator=generator), random_logits(*shape[:-1]), 2.0)


def test_sparse_tokens_follow_the_classes_new_numbers():
    names = ["a", "b", "c", "d"]
    index = torch.tensor([2, 0, 3, 1])
    new_names = [names[old] for old in index]
    sparse = sparse_logits(5, 3, vocabulary=4)
    renumbered = Signals(None, sparse=sparse).in_class_order(index).sparse
    for row in range(5):
        assert [new_names[i] for i in renumbered.token_ids[row]] == [names[i] for i in sparse.token_ids[row]]
    assert renumbered.probabilities is sparse.probabilities and renumbered.temperature == 2.0


def test_logits_in_another_class_order():
    logits, states = random_logits(2, 3), random_logits(2, 4, 6)
    signals = Signals(logits, hidden_states={4: states})
    index = torch.tensor([1, 2, 0])
    expected = [[row[1], row[2], row[0]] for row in logits.tolist()]
    assert signals.in_class_order(index).logits.tolist() == expected
    assert signals.in_class_order(index).hidden_states[4] is states
    assert signals.in_class_order(None) is signals
    mixed = Signals(None, mixed=MixedLogits((logits, logits * 2), (0.5, 0.5))).in_class_order(index).mixed
    assert mixed.logits[0].tolist() == expected
    assert mixed.logits[1].tolist() == [[2 * value for value in row] for row in expected]


def test_the_last_position_predicts_no_known_token():
    logits, states = random_logits(2, 4, 3), random_logits(2, 4, 6)
    dense = Signals(logits, hidden_states={4: states}).for_causal_prediction()
    assert torch.equal(dense.logits, logits[:, :3]) and dense.hidden_states[4] is states
    sparse = sparse_logits(2, 4, 5, vocabulary=60)
    without_last = Signals(None, sparse=sparse).for_causal_prediction().sparse
    assert torch.equal(without_last.token_ids, sparse.token_ids[:, :3])
    assert torch.equal(without_last.probabilities, sparse.probabilities[:, :3])
    assert torch.equal(without_last.entropy, sparse.entropy[:, :3])
    mixed = Signals(None, mixed=MixedLogits((logits, logits * 2), (0.25, 0.75))).for_causal_prediction().mixed
    assert torch.equal(mixed.logits[1], 2 * logits[:, :3]) and mixed.weights == (0.25, 0.75)


def test_a_models_answer_is_read_whatever_its_form():
    logits, states = random_logits(2, 3), random_logits(2, 4, 6)
    for output in (logits, (logits,), {"logits": logits}, CausalLMOutput(logits=logits)):
        signals = Signals.from_model_output(output)
        assert signals.logits is logits and not signals.hidden_states
    output = CausalLMOutput(logits=logits, hidden_states=(states * 2, states))
    assert not Signals.from_model_output(output).hidden_states
    assert Signals.from_model_output(output, SignalNeeds(hidden_states=frozenset({1}))).hidden_states == {1: states}
    with pytest.raises(InputError, match="asks for layer 2, and the model has 1 "):
        Signals.from_model_output(output, SignalNeeds(hidden_states=frozenset({2})))
    for without in (logits, (logits,), {"logits": logits}):
        with pytest.raises(InputError, match="hidden_state_weight and contrast_weight at 0"):
            Signals.from_model_output(without, SignalNeeds(hidden_states=frozenset({1})))
    with pytest.raises(InputError, match="start_logits and no `logits`"):
        Signals.from_model_output({"start_logits": logits})


def test_signals_hold_one_kind_of_answer():
    sparse = sparse_logits(2, 3, vocabulary=9)
    with pytest.raises(ValueError, match="exactly one"):
        Signals(None)
    with pytest.raises(ValueError, match="exactly one"):
        Signals(random_logits(2, 9), sparse=sparse)
    with pytest.raises(ValueError, match="no logits"):
        _ = Signals(None, sparse=sparse).dense_logits
