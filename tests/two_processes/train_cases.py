"""Every case in two processes, cut in several ways, and what depends on how Accelerate hands out the rows."""

import torch
from conftest import PaddingCollator, random_rows
from torch.nn.parallel import DistributedDataParallel
from two_processes.cases import CASES, make_trainer

# On two processes both make steps of 8 rows. Of the 11 rows, the last step has 3, and what is missing is repeated.
CUTS = {"one batch of 4": (4, 1), "two batches of 2": (2, 2)}
ORDERS = ("random", "group_by_length")


def run_cases(folder, tensors):
    results = {}
    for name, case in CASES.items():
        for cut, (batch_size, accumulation) in CUTS.items():
            trainer, recorder = make_trainer(
                case,
                folder / "out",
                per_device_train_batch_size=batch_size,
                gradient_accumulation_steps=accumulation,
                per_device_eval_batch_size=batch_size,
            )
            trainer.train()
            tensors[f"{name}/{cut}"] = torch.stack(recorder.gradients)
            result = {"logs": [logs for logs in trainer.state.log_history if "loss" in logs]}
            if case.has_labels:
                result["eval_loss"] = trainer.evaluate()["eval_loss"]
            results[f"{name}/{cut}"] = result
    results["student is wrapped"] = isinstance(trainer.model_wrapped, DistributedDataParallel)
    wrapped = [module for module in trainer.teacher.model.modules() if isinstance(module, DistributedDataParallel)]
    results["teacher is wrapped"] = bool(wrapped)
    return results


def rows_in_some_order():
    return random_rows(41, per_token=True)


def run_orders(folder, tensors):
    for order in ORDERS:
        trainer, recorder = make_trainer(
            CASES["token"],
            folder / "out",
            per_device_train_batch_size=2,
            train_sampling_strategy=order,
            num_train_epochs=2,
        )
        trainer.train_dataset = rows_in_some_order()
        # Processes need not have drawn equally many random numbers.
        torch.rand(torch.distributed.get_rank())
        trainer.train()
        tensors[order] = torch.stack(recorder.gradients)


def run_resumed(folder, tensors):
    """The step after a checkpoint in the middle of an epoch, whose last batches hold repeated rows."""
    arguments = {"per_device_train_batch_size": 4, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 2}
    trainer, _ = make_trainer(CASES["token"], folder / "resumed", **arguments)
    trainer.train()
    trainer, recorder = make_trainer(CASES["token"], folder / "resumed", **arguments)
    trainer.train(resume_from_checkpoint=str(folder / "resumed" / "checkpoint-1"))
    tensors["resumed"] = torch.stack(recorder.gradients)


def run_stream(folder, tensors):
    """Rows without a length, which the first process hands out to both."""
    case = CASES["token"]
    collator = PaddingCollator(16)
    trainer, recorder = make_trainer(case, folder / "out", collator, per_device_train_batch_size=4, max_steps=2)
    trainer.train_dataset = case.rows().to_iterable_dataset()
    trainer.train()
    tensors["stream"] = torch.stack(recorder.gradients)


def run_prediction(folder, tensors):
    case = CASES["token"]
    trainer, _ = make_trainer(
        case, folder / "out", PaddingCollator(16), per_device_eval_batch_size=2, train_sampling_strategy=ORDERS[1]
    )
    prediction = trainer.predict(case.rows())
    tensors["predictions"] = torch.tensor(prediction.predictions)
    return prediction.metrics["test_loss"]


def run_trainings(folder, tensors):
    """All of the above; tensors are added by name, the rest is returned."""
    results = run_cases(folder, tensors)
    run_orders(folder, tensors)
    run_resumed(folder, tensors)
    run_stream(folder, tensors)
    return {**results, "test_loss": run_prediction(folder, tensors)}
