"""Train in processes that are killed (SIGKILL) at a chosen point, resume in others, and print what came of it.

    python killed.py FOLDER POINT [POINT ...]

Each process is forked before anything was trained, so it is as fresh as a new one without importing all again.
The last line is JSON: for each point the exit status of the killed process, and from the one that resumed the
digest of the weights, the last step, and what was written to stderr.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import transformers.modeling_utils
import transformers.trainer_utils
from interrupted.small_run import digest as digest_of
from interrupted.small_run import make_trainer
from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_callback import TrainerState

KILL_AT_STEP = 6
EARLY_STOPPING = {
    "eval_strategy": "steps",
    "eval_steps": 3,
    "load_best_model_at_end": True,
    "learning_rate": 3e-2,
    "num_train_epochs": 6,
}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def cut_short(path):
    """Leave the first half of a file, as if the process had died while writing it."""
    os.truncate(path, os.path.getsize(path) // 2)


class DieAfterStep(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == KILL_AT_STEP + 1:
            die()


WRITERS = [(transformers.modeling_utils, "safe_save_file"), (torch, "save"), (TrainerState, "save_to_json")]
"""What writes the files of a checkpoint."""


def after_writing(do):
    """Call ``do`` with the path of each file of a checkpoint that was written."""
    for owner, function in WRITERS:
        write = getattr(owner, function)

        def write_and_do(*args, write=write, **kwargs):
            write(*args, **kwargs)
            paths = [Path(arg) for arg in (*args, *kwargs.values()) if isinstance(arg, str | os.PathLike)]
            for path in paths:
                do(path)

        setattr(owner, function, write_and_do)


def die_while_writing(file_name, folder_name):
    def die_at_file(path):
        if path.name == file_name and path.parent.name == folder_name:
            cut_short(path)
            die()

    after_writing(die_at_file)


def write_slowly():
    def write_again(path):
        content = path.read_bytes()
        cut_short(path)
        time.sleep(0.02)
        path.write_bytes(content)

    after_writing(write_again)


def die_while_rotating():
    def remove_one_file(folder, **kwargs):
        (Path(folder) / "optimizer.pt").unlink()
        die()

    transformers.trainer_utils.shutil.rmtree = remove_one_file


def prepare_to_die(point):
    """Arrange that this process dies at ``point``; returns callbacks for the trainer."""
    checkpoint = f"checkpoint-{KILL_AT_STEP}"
    if point == "after_step":
        return [DieAfterStep()]
    if point == "rotation":
        die_while_rotating()
    elif point in ("model.safetensors", "final", "early_stopping"):
        folder = checkpoint if point == "model.safetensors" else "out"
        die_while_writing("model.safetensors", folder)
    else:
        die_while_writing(point, checkpoint)
    return []


def arguments_for(point):
    if point == "early_stopping":
        return EARLY_STOPPING
    if point == "random":
        return {"num_train_epochs": 6, "save_total_limit": 2}
    return {"save_total_limit": 1} if point == "rotation" else {}


def train(folder, point, resume=False, callbacks=()):
    stopping = [EarlyStoppingCallback(2)] if point == "early_stopping" else []
    trainer = make_trainer(folder / "out", callbacks=[*stopping, *callbacks], **arguments_for(point))
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model()
    result = {"digest": digest_of(trainer.model), "step": trainer.state.global_step}
    (folder / "result.json").write_text(json.dumps(result))


def fork(folder, work, kill_after=None):
    """Run ``work`` in a child; its exit status, negative for a signal."""
    folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        with open(folder / "stderr", "wb") as log, open(os.devnull, "wb") as nothing:
            os.dup2(log.fileno(), 2)
            os.dup2(nothing.fileno(), 1)
            try:
                work()
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(folder):
    result = folder / "result.json"
    return {**(json.loads(result.read_text()) if result.is_file() else {}), "log": (folder / "stderr").read_text()}


def kill_at(folder, point):
    status = fork(folder, lambda: train(folder, point, callbacks=prepare_to_die(point)))
    fork(folder, lambda: train(folder, point, resume=True))
    return {"killed": status, **outcome(folder)}


def kill_at_random_moments(folder, times=10):
    """Kill the same run again and again, at any moment from its start on, and let it end at last."""

    def train_slowly(resume=True, folder=folder):
        write_slowly()
        train(folder, "random", resume)

    moments = random.Random(0)
    start = time.time()
    fork(folder / "whole", lambda: train_slowly(resume=False, folder=folder / "whole"))
    duration = time.time() - start
    statuses = [fork(folder, train_slowly, kill_after=moments.uniform(0.05, 0.4) * duration) for _ in range(times)]
    fork(folder, train_slowly)
    return {
        "killed": min(statuses),
        "times_killed": statuses.count(-signal.SIGKILL),
        **outcome(folder),
        "whole": outcome(folder / "whole"),
    }


def main():
    root, points = Path(sys.argv[1]), sys.argv[2:]
    results = {}
    for name in ("uninterrupted", "early_stopping"):
        folder = root / "whole" / name
        fork(folder, lambda folder=folder, name=name: train(folder, name))
        results[f"whole_{name}"] = outcome(folder)
    for point in points:
        kill = kill_at_random_moments if point == "random" else lambda folder, point=point: kill_at(folder, point)
        results[point] = kill(root / point)
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
