import numpy as np
import torch
from tiny_tasks import images, tiny_vit
from transformers import DistilBertConfig, DistilBertForSequenceClassification, default_data_collator

from hf_distill.evaluation import predict_logits


def one_row_at_a_time(model, rows, columns):
    model.eval()
    with torch.no_grad():
        logits = [model(**{name: torch.tensor([row[name]]) for name in columns}).logits[0] for row in rows]
    return torch.stack(logits).numpy()


def test_logits_equal_those_of_single_rows_in_the_data_sets_order(make_model, make_rows, collator):
    model, rows = make_model(num_labels=3), make_rows(23)
    expected = one_row_at_a_time(model, rows, ["input_ids", "token_type_ids", "attention_mask"])
    logits = predict_logits(model, rows, collator, batch_size=4, description="Predicting")
    assert logits.dtype == np.float32 and logits.shape == (23, 3)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert len(np.unique(expected.argmax(axis=1))) > 1


def test_a_column_that_the_model_does_not_take_is_left_out(make_rows, collator):
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=99, dim=32, n_layers=1, n_heads=4, hidden_dim=37)
    model, rows = DistilBertForSequenceClassification(config), make_rows(5)
    expected = one_row_at_a_time(model, rows, ["input_ids", "attention_mask"])
    np.testing.assert_allclose(predict_logits(model, rows, collator), expected, rtol=1e-4, atol=1e-5)


def test_batches_hold_rows_of_like_length_and_the_longest_come_first(make_model, make_rows, collator):
    model, rows = make_model(), make_rows(20)
    widths = []
    model.register_forward_pre_hook(
        lambda module, args, inputs: widths.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    predict_logits(model, rows, collator, batch_size=4)
    lengths = sorted(map(len, rows["input_ids"]), reverse=True)
    assert widths == lengths[::4]


def test_every_module_is_left_in_its_mode(make_model, make_rows, collator):
    model = make_model(hidden_dropout_prob=0.5)
    model.train()
    model.bert.embeddings.eval()
    before = [module.training for module in model.modules()]
    first = predict_logits(model, make_rows(6), collator)
    second = predict_logits(model, make_rows(6), collator)
    assert [module.training for module in model.modules()] == before
    assert True in before and False in before
    np.testing.assert_array_equal(first, second)


def test_bf16_logits_come_back_as_float32(make_model, make_rows, collator):
    logits = predict_logits(make_model().to(torch.bfloat16), make_rows(3), collator)
    assert logits.dtype == np.float32 and np.isfinite(logits).all()


def test_rows_without_a_length_keep_their_order():
    model, rows = tiny_vit(), images(7)
    with torch.no_grad():
        expected = model(torch.tensor(rows["pixel_values"][:])).logits
    np.testing.assert_allclose(predict_logits(model, rows, default_data_collator, batch_size=3), expected, atol=1e-5)
