"""Build a cache in processes that are killed (SIGKILL) at random moments, or two at once, and say what came of it.

    python killed_builds.py FOLDER TIMES

Each process is forked before anything was computed, so it is as fresh as a new one without importing all again. The
last line is JSON: what each killed process left, and the answers' digest of each build that ended.
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from conftest import PaddingCollator, random_rows, tiny_bert
from safetensors.torch import load_file
from transformers.utils import logging

from hf_distill.teachers.cache import CachedTeacher, cache_teacher_outputs, shards

ROWS, BATCH_SIZE = 40, 2
SECONDS_OF_A_BATCH = 0.005


def build(folder, slowly=True):
    """A shard for each batch."""
    logging.disable_progress_bar()
    shards.SHARD_SECONDS = 0
    teacher = tiny_bert(layers=1)
    if slowly:
        teacher.register_forward_pre_hook(lambda *args: time.sleep(SECONDS_OF_A_BATCH))
    cache_teacher_outputs(teacher, random_rows(ROWS), folder, PaddingCollator(), batch_size=BATCH_SIZE)


def answers(folder):
    """A digest of all keys and answers of a complete cache, in the order of the keys."""
    CachedTeacher(folder)
    stored = {}
    for path in folder.glob("shard-*"):
        tensors = load_file(path)
        for key, logits in zip(tensors["keys"], tensors["logits"], strict=True):
            stored[key.numpy().tobytes()] = logits.numpy().tobytes()
    return hashlib.sha256(b"".join(key + stored[key] for key in sorted(stored))).hexdigest()


def start(log, work):
    child = os.fork()
    if child == 0:
        with open(log, "ab") as file:
            os.dup2(file.fileno(), 2)
        try:
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return child


def finish(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_again_and_again(root, times, duration):
    """Each killed process leaves the cache to the next; what each left: the number of its shards."""
    moments, folder, shards_left, complete = random.Random(0), root / "killed", [], 0
    while len(shards_left) < times and complete < times:
        if folder.exists() and list(folder.glob("index-*")):
            complete += 1
            folder.rename(root / f"complete-{complete}")
        child = start(root / "log", lambda: build(folder))
        time.sleep(moments.uniform(0.02, 0.7) * duration)
        os.kill(child, signal.SIGKILL)
        if finish(child) == -signal.SIGKILL:
            shards_left.append(len(list(folder.glob("shard-*"))) if folder.exists() else 0)
    return shards_left


def main():
    root, times = Path(sys.argv[1]), int(sys.argv[2])
    began = time.monotonic()
    assert finish(start(root / "log", lambda: build(root / "whole"))) == 0
    shards_left = kill_again_and_again(root, times, time.monotonic() - began)
    last = finish(start(root / "log", lambda: build(root / "killed")))
    together = [start(root / "log", lambda: build(root / "together")) for _ in range(2)]
    together = [finish(child) for child in together]
    folders = [root / "whole", root / "killed", root / "together", *root.glob("complete-*")]
    result = {
        "shards_left": shards_left,
        "last": last,
        "together": together,
        "answers": [answers(folder) for folder in folders],
        "left_over": [path.name for folder in folders for path in folder.glob(".*")],
        "shards_of_two": len(list((root / "together").glob("shard-*"))),
        "log": (root / "log").read_text(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
