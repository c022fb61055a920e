import json
import shutil

import pytest
import torch
from interrupted.small_run import make_trainer
from safetensors.torch import save_file

from hf_distill.checkpoints import checkpoint_to_resume_from, last_complete_checkpoint, what_is_missing
from hf_distill.errors import InputError

NEEDED = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
NOT_NEEDED = ("config.json", "training_args.bin")


@pytest.fixture(scope="module")
def real_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    make_trainer(folder, save_steps=1, max_steps=2).train()
    return folder


@pytest.fixture
def run(real_run, tmp_path):
    return shutil.copytree(real_run, tmp_path / "run")


@pytest.fixture
def checkpoint(run):
    return run / "checkpoint-2"


def cut_short(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_checkpoint_as_trainer_leaves_it_is_complete(run):
    assert what_is_missing(run / "checkpoint-1") is None
    assert what_is_missing(run / "checkpoint-2") is None
    assert sorted(path.name for path in (run / "checkpoint-2").iterdir()) == sorted((*NEEDED, *NOT_NEEDED))


@pytest.mark.parametrize("name", NEEDED)
def test_each_needed_file_is_missed(checkpoint, name):
    (checkpoint / name).unlink()
    assert what_is_missing(checkpoint) == f"{name} is not there or was cut short"


@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", NEEDED)
def test_each_needed_file_is_found_to_be_cut_short(checkpoint, name, left):
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[: int(left * len(content))])
    assert what_is_missing(checkpoint) == f"{name} is not there or was cut short"


@pytest.mark.parametrize("name", NOT_NEEDED)
def test_what_resuming_does_not_read_is_not_missed(checkpoint, name):
    (checkpoint / name).unlink()
    assert what_is_missing(checkpoint) is None


@pytest.mark.parametrize("content", ["null", "[]", "3", '{"no_such_field": 1}', "\x00" * 100])
def test_a_state_that_is_something_else(checkpoint, content):
    (checkpoint / "trainer_state.json").write_text(content)
    assert "trainer_state.json" in what_is_missing(checkpoint)


def test_the_state_of_another_step(run):
    shutil.copy(run / "checkpoint-1" / "trainer_state.json", run / "checkpoint-2" / "trainer_state.json")
    assert what_is_missing(run / "checkpoint-2") == "its trainer_state.json is of step 1"


def test_a_checkpoint_may_be_kept_under_another_name(run):
    assert what_is_missing((run / "checkpoint-2").rename(run / "the_good_one")) is None


def test_no_checkpoint_at_all(tmp_path):
    assert "trainer_state.json" in what_is_missing(tmp_path / "nowhere")
    assert last_complete_checkpoint(tmp_path / "nowhere") is None
    assert last_complete_checkpoint(tmp_path) is None


def test_the_last_complete_one_is_found_and_the_others_are_named(run, caplog):
    for step in (9, 10, 11):
        shutil.copytree(run / "checkpoint-2", run / f"checkpoint-{step}")
        state = json.loads((run / "checkpoint-2" / "trainer_state.json").read_text())
        (run / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps({**state, "global_step": step}))
    assert last_complete_checkpoint(run) == str(run / "checkpoint-11")
    assert caplog.messages == []
    (run / "checkpoint-11" / "trainer_state.json").unlink()
    cut_short(run / "checkpoint-10" / "model.safetensors")
    assert last_complete_checkpoint(run) == str(run / "checkpoint-9")
    assert caplog.messages == [
        "Skipping checkpoint-11, which is incomplete: trainer_state.json is not there or was cut short.",
        "Skipping checkpoint-10, which is incomplete: model.safetensors is not there or was cut short.",
    ]


def test_a_rotation_killed_at_any_file_leaves_nothing_that_looks_complete(checkpoint):
    """Files go in any order; what resuming needs may be the first to go."""
    for name in NEEDED:
        content = (checkpoint / name).read_bytes()
        (checkpoint / name).unlink()
        assert what_is_missing(checkpoint) is not None
        (checkpoint / name).write_bytes(content)
    assert what_is_missing(checkpoint) is None
    for name in NEEDED:
        (checkpoint / name).unlink()
        assert what_is_missing(checkpoint) is not None


# ---- Other layouts ----


@pytest.fixture
def sharded(checkpoint):
    """Weights over several files, written by transformers itself."""
    (checkpoint / "model.safetensors").unlink()
    trainer = make_trainer(checkpoint.parent / "unused")
    trainer.model.save_pretrained(checkpoint, max_shard_size="20KB")
    assert (checkpoint / "model.safetensors.index.json").is_file()
    assert not (checkpoint / "model.safetensors").exists()
    return checkpoint


def test_weights_in_shards(sharded):
    assert what_is_missing(sharded) is None


@pytest.mark.parametrize("damage", [cut_short, lambda path: path.unlink()], ids=["cut_short", "unlink"])
def test_each_shard_is_looked_at(sharded, damage):
    for shard in sorted(sharded.glob("model-*.safetensors")):
        content = shard.read_bytes()
        damage(shard)
        assert what_is_missing(sharded) == f"{shard.name} is not there or was cut short"
        shard.write_bytes(content)


def test_an_index_cut_short(sharded):
    cut_short(sharded / "model.safetensors.index.json")
    assert what_is_missing(sharded) == "model.safetensors.index.json is not there or was cut short"


def test_an_index_that_is_gone(sharded):
    (sharded / "model.safetensors.index.json").unlink()
    assert what_is_missing(sharded) == "model.safetensors is not there or was cut short"


def test_adapters(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "adapter_config.json").write_text("{}")
    assert what_is_missing(checkpoint) == "adapter_model.safetensors is not there or was cut short"
    save_file({"a": torch.zeros(2)}, checkpoint / "adapter_model.safetensors")
    assert what_is_missing(checkpoint) is None


def test_fsdp_with_whole_weights(checkpoint):
    (checkpoint / "optimizer.pt").rename(checkpoint / "optimizer.bin")
    assert what_is_missing(checkpoint) == "optimizer.pt is not there or was cut short"
    torch.save({}, checkpoint / "pytorch_model_fsdp.bin")
    assert what_is_missing(checkpoint) is None
    cut_short(checkpoint / "pytorch_model_fsdp.bin")
    assert what_is_missing(checkpoint) == "pytorch_model_fsdp.bin is not there or was cut short"


@pytest.mark.parametrize("folder", ["pytorch_model_fsdp_0", "global_step2"])
def test_sharded_layouts_stand_by_their_state(checkpoint, folder):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "optimizer.pt").unlink()
    (checkpoint / folder).mkdir()
    assert what_is_missing(checkpoint) is None
    cut_short(checkpoint / "trainer_state.json")
    assert what_is_missing(checkpoint) is not None


def test_a_folder_of_the_users_own_excuses_nothing(checkpoint):
    (checkpoint / "plots").mkdir()
    (checkpoint / "optimizer.pt").unlink()
    assert what_is_missing(checkpoint) == "optimizer.pt is not there or was cut short"


# ---- Numbers of processes ----


@pytest.fixture
def of_two_processes(checkpoint):
    (checkpoint / "rng_state.pth").rename(checkpoint / "rng_state_0.pth")
    shutil.copy(checkpoint / "rng_state_0.pth", checkpoint / "rng_state_1.pth")
    return checkpoint


def test_each_process_needs_its_random_state(of_two_processes):
    assert what_is_missing(of_two_processes, num_processes=2) is None
    cut_short(of_two_processes / "rng_state_1.pth")
    assert what_is_missing(of_two_processes, num_processes=2) == "rng_state_1.pth is not there or was cut short"
    (of_two_processes / "rng_state_1.pth").unlink()
    assert what_is_missing(of_two_processes, num_processes=2) == "rng_state_1.pth is not there or was cut short"


@pytest.mark.parametrize("num_processes", [1, 3, 4])
def test_a_checkpoint_of_another_number_of_processes_is_complete(of_two_processes, caplog, num_processes):
    """To start from the first step would throw its work away."""
    run = of_two_processes.parent
    assert checkpoint_to_resume_from(True, run, num_processes) == str(of_two_processes)
    assert f"checkpoint-2 was not written by {num_processes} process" in caplog.text


def test_nothing_is_said_where_the_number_is_the_same(of_two_processes, caplog):
    assert checkpoint_to_resume_from(True, of_two_processes.parent, 2) == str(of_two_processes)
    assert caplog.messages == []


# ---- What was asked for ----


@pytest.mark.parametrize("asked", [None, False, ""])
def test_nothing_asked_for(run, asked):
    assert checkpoint_to_resume_from(asked, run) is None


def test_a_named_one(run):
    asked = str(run / "checkpoint-1")
    assert checkpoint_to_resume_from(asked, run) == asked


def test_a_named_one_that_is_torn(run):
    cut_short(run / "checkpoint-2" / "scheduler.pt")
    with pytest.raises(InputError, match="checkpoint-2: scheduler.pt is not there or was cut short"):
        checkpoint_to_resume_from(str(run / "checkpoint-2"), run)


def test_a_named_one_that_does_not_exist(run):
    with pytest.raises(InputError, match="checkpoint-7"):
        checkpoint_to_resume_from(str(run / "checkpoint-7"), run)


def test_none_to_be_found(tmp_path, caplog):
    assert checkpoint_to_resume_from(True, tmp_path) is None
    assert "no complete checkpoint" in caplog.text
    assert "starting from the first step" in caplog.text
