"""What two processes do with one cache, for torchrun; the main process prints JSON last.

torchrun --standalone --nproc_per_node 2 two_process_builds.py FOLDER
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from conftest import PaddingCollator, random_rows, tiny_bert
from teachers.cache.cached_training import cache_of, last_hidden_state, pair, train

from hf_distill.errors import InputError
from hf_distill.teachers.cache import cache_folder, shards

TASKS = ("classes", "tokens", "sequence to sequence, BART")
ARGUMENTS = {"hidden_state_weight": 0.3, "learning_rate": 0.0, "per_device_train_batch_size": 4, "num_train_epochs": 1}


def trainings(folder):
    """The terms of each step, live and from the cache."""
    found = {}
    for task in TASKS:
        student, teacher, rows = pair(task)
        answered = []
        teacher.register_forward_pre_hook(lambda *args, answered=answered: answered.append(1))
        cached = cache_of(teacher, rows, folder / task, needs=last_hidden_state(teacher), batch_size=4)
        forwards = len(answered)
        order = {"train_sampling_strategy": "group_by_length"}
        _, live, live_gradients = train(folder / "out", student, teacher, rows, **ARGUMENTS, **order)
        _, steps, gradients = train(folder / "out", student, cached, rows, **ARGUMENTS, **order)
        largest = max(
            ((gradient - other).norm() / other.norm()).item()
            for gradient, other in zip(gradients, live_gradients, strict=True)
        )
        found[task] = {"live": live, "cached": steps, "gradients": largest, "forwards": gather_object([forwards])}
    return found


def message_of(work):
    try:
        work()
    except InputError as error:
        return [[type(error).__name__, str(error)]]
    return [None]


def faults(folder):
    """What both processes say when something is wrong in the share of the second alone."""
    shards.SHARD_SECONDS = 0
    state, rows, teacher = PartialState(), random_rows(24), tiny_bert()
    cache_of(teacher, rows, folder / "cache", batch_size=4)
    found = {"mismatch": gather_object(message_of(lambda: cache_of(tiny_bert(seed=9), rows, folder / "cache")))}
    files = sorted((folder / "cache").glob("shard-*"))
    state.wait_for_everyone()
    if state.is_main_process:
        content = files[1].read_bytes()
        files[1].write_bytes(content[:-1])
    state.wait_for_everyone()
    found["damaged"] = [files[1].name, *gather_object(message_of(lambda: cache_of(teacher, rows, folder / "cache")))]

    # Without its index the cache is unfinished, and what is damaged is answered again.
    if state.is_main_process:
        next((folder / "cache").glob("index-*")).unlink()
    state.wait_for_everyone()
    cached = cache_of(teacher, rows, folder / "cache", batch_size=2)
    batch = cached.collator(PaddingCollator())(list(rows))
    logits = cached(batch).logits
    found["repaired"] = gather_object(
        [(logits - teacher(batch["input_ids"], batch["attention_mask"]).logits).abs().max().item()]
    )

    # A shared file system may list nothing to the second process that the first has written.
    listdir = cache_folder.os.listdir
    if not state.is_main_process:
        cache_folder.os.listdir = lambda path: []
    found["stale"] = []
    for _ in range(2):
        cached = cache_of(teacher, rows, folder / "stale", batch_size=4)
        found["stale"] += gather_object([len(cached.collator(PaddingCollator())(list(rows))["input_ids"])])
        state.wait_for_everyone()
    cache_folder.os.listdir = listdir

    fails = tiny_bert(seed=4)
    if not state.is_main_process:
        fails.register_forward_pre_hook(lambda *args: 1 / 0)
    found["failing"] = []
    try:
        cache_of(fails, rows, folder / "failing")
    except (RuntimeError, ZeroDivisionError) as error:
        found["failing"] = gather_object([repr(error)])
    return found


def main():
    folder = Path(sys.argv[1])
    results = {"trainings": trainings(folder), "faults": faults(folder)}
    if PartialState().is_main_process:
        sys.stdout.write(json.dumps(results) + "\n")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
