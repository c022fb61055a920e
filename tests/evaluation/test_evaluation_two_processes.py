import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertForSequenceClassification

from hf_distill.evaluation import compare, predict_logits
from hf_distill.tasks import Task


def make_model(layers):
    torch.manual_seed(layers)
    config = BertConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=37,
        num_labels=3,
    )
    return BertForSequenceClassification(config)


def make_rows(count):
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(1, 99, (2 + 3 * index % 11,), generator=generator).tolist() for index in range(count)]
    return Dataset.from_dict({"input_ids": rows, "labels": [index % 3 for index in range(count)]})


def collate(rows):
    input_ids = pad_sequence([torch.tensor(row["input_ids"]) for row in rows], batch_first=True)
    return {"input_ids": input_ids, "attention_mask": (input_ids > 0).long()}


def accuracy(prediction):
    return {"accuracy": float(np.mean(prediction.predictions.argmax(axis=-1) == prediction.label_ids))}


def measure():
    rows = make_rows(7)
    task = Task(
        "tiny", rows, {"dev": rows}, ["a", "b", "c"], "single_label_classification", ("accuracy",), "accuracy", {}
    )
    many = predict_logits(make_model(2), rows, collate, batch_size=2)
    fewer_batches_than_processes = predict_logits(make_model(2), make_rows(1), collate)
    comparison = compare(task, make_model(2), make_model(1), {"dev": rows}, collate, accuracy, time_budget=0.1)
    return many, fewer_batches_than_processes, comparison


def test_every_process_receives_what_one_process_computes(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", __file__]
    finished = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    expected_many, expected_one, expected = measure()
    results = [pickle.loads((tmp_path / f"{rank}.pickle").read_bytes()) for rank in range(2)]
    for processes, many, one, comparison in results:
        assert processes == 2
        np.testing.assert_array_equal(many, expected_many)
        np.testing.assert_array_equal(one, expected_one)
        assert comparison.agreement == expected.agreement
        assert comparison.retention == expected.retention
        assert comparison.student.metrics == expected.student.metrics
    assert results[0][3] == results[1][3]


def worker(folder):
    state = PartialState(cpu=True)
    assert gather_object([state.process_index]) == [0, 1]
    (Path(folder) / f"{state.process_index}.pickle").write_bytes(pickle.dumps((state.num_processes, *measure())))
    state.destroy_process_group()


if __name__ == "__main__":
    worker(sys.argv[1])
