import os
import re
import shlex
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin, patch_environment
from accelerate.utils.launch import (
    prepare_deepspeed_cmd_env,
    prepare_multi_gpu_env,
    prepare_simple_launcher_cmd_env,
)
from torch.distributed.fsdp.fully_sharded_data_parallel import StateDictType
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

from hf_distill.arguments import (
    AblationArguments,
    DataArguments,
    DistillationTrainingArguments,
    ModelArguments,
    SweepArguments,
    TeacherCacheArguments,
)
from hf_distill.cli import parse_arguments
from hf_distill.tasks.glue import GLUE_TASKS

ROOT = Path(__file__).parents[1]
RUNS = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "accelerate")
GLUE = [path for path in RUNS if path.parent.name == "glue"]
ACCELERATE = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))


def by_name(path):
    return path.relative_to(ROOT / "configs").as_posix()


def command(path):
    """The words of the command that a config opens with."""
    first = path.read_text().splitlines()[0]
    assert first.startswith("# accelerate launch ")
    return shlex.split(first.removeprefix("# "))


def parse(path, *overrides):
    kinds = (ModelArguments, TeacherCacheArguments, DataArguments, DistillationTrainingArguments)
    extra = {"sweep": (SweepArguments,), "ablation": (AblationArguments,)}.get(path.stem, ())
    return parse_arguments((*kinds, *extra), [str(path), "--use_cpu", *overrides])[: len(kinds)]


def test_the_configs_that_were_promised_are_there():
    assert {path.stem for path in GLUE} == set(GLUE_TASKS)
    promised = {"single_gpu", "multi_gpu", "multi_node", "fsdp2", "deepspeed_zero2", "deepspeed_zero3"}
    assert {path.stem for path in ACCELERATE} == promised
    assert ROOT / "configs" / "quickstart.yaml" in RUNS


@pytest.mark.parametrize("path", RUNS + ACCELERATE, ids=by_name)
def test_a_config_opens_with_its_command_and_its_result(path):
    words = command(path)
    assert path.relative_to(ROOT).as_posix() in words
    for word in words:
        if "/" in word:
            assert (ROOT / word).is_file(), word
    result = path.read_text().splitlines()[1]
    assert result == "# Result: not yet measured." or re.match(r"# Result: .*\d", result)


@pytest.mark.parametrize("path", RUNS, ids=by_name)
def test_a_run_config_is_valid(path):
    model, _, _, training = parse(path)
    assert model.teacher_name_or_path and model.student_layers
    assert training.output_dir == f"outputs/{path.relative_to(ROOT / 'configs').with_suffix('').as_posix()}"
    assert 0 < training.warmup_steps < 1
    assert not training.push_to_hub and not model.trust_remote_code


@pytest.mark.parametrize("path", GLUE, ids=by_name)
def test_a_glue_config_keeps_the_best_epoch_by_the_task_s_own_metric(path):
    _, _, data, training = parse(path)
    task = GLUE_TASKS[path.stem]
    splits = [split for split, _ in task.dev_files]
    prefix = f"{splits[0]}_" if len(splits) > 1 else ""
    assert data.task_name == path.stem
    assert training.load_best_model_at_end and training.greater_is_better
    assert training.metric_for_best_model == prefix + task.primary_metric


def launched(path):
    """The launcher's own reading of a config's command: its arguments with the file filled in."""
    parser = launch_command_parser()
    args = parser.parse_args(command(path)[2:])
    args.config_file = str(path)
    return _validate_launch_command(args)[0]


@pytest.mark.parametrize("path", ACCELERATE, ids=by_name)
def test_accelerate_knows_every_key(path):
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    known = vars(launch_command_parser().parse_args(["script.py"]))
    nested = [*config.fsdp_config, *config.deepspeed_config, *config.dynamo_config]
    assert [key for key in nested if key not in known] == []
    assert config.num_processes % config.num_machines == 0


@pytest.mark.parametrize("path", ACCELERATE, ids=by_name)
def test_the_launcher_starts_what_a_config_is_named_after(path):
    args = launched(path)
    assert args.training_script == "scripts/distill_glue.py"
    assert args.training_script_args == ["configs/glue/sst2.yaml"]
    assert args.use_deepspeed == ("deepspeed" in path.stem)
    assert args.use_fsdp == ("fsdp" in path.stem)
    assert args.multi_gpu == path.stem.startswith("multi")
    assert (args.num_machines > 1) == (path.stem == "multi_node")
    assert (args.num_processes > 1) == (path.stem != "single_gpu")


def test_single_gpu_shows_one_gpu_to_one_process():
    _, environment = prepare_simple_launcher_cmd_env(launched(ROOT / "configs/accelerate/single_gpu.yaml"))
    assert environment["CUDA_VISIBLE_DEVICES"] == "0"
    assert environment["ACCELERATE_MIXED_PRECISION"] == "bf16"


def test_multi_node_meets_at_machine_0():
    args = launched(ROOT / "configs/accelerate/multi_node.yaml")
    args.machine_rank = 1  # machine 0 would also try whether the port is free
    environment = prepare_multi_gpu_env(args)
    assert (args.nnodes, args.nproc_per_node, args.node_rank) == ("2", "8", 1)
    assert args.rdzv_endpoint == "192.0.2.1:29500"
    assert environment["ACCELERATE_MIXED_PRECISION"] == "bf16"


def test_fsdp2_shards_by_layer_and_saves_whole_models():
    environment = prepare_multi_gpu_env(launched(ROOT / "configs/accelerate/fsdp2.yaml"))
    assert environment["ACCELERATE_USE_FSDP"] == "true"
    with patch_environment(**only_new(environment)):
        plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type is StateDictType.FULL_STATE_DICT
    assert plugin.auto_wrap_policy is transformer_auto_wrap_policy
    assert plugin.transformer_cls_names_to_wrap is None
    assert plugin.cpu_ram_efficient_loading is False
    assert plugin.activation_checkpointing is False


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_takes_the_stage_from_the_file_and_the_rest_from_the_training_arguments(stage):
    args = launched(ROOT / f"configs/accelerate/deepspeed_zero{stage}.yaml")
    args.deepspeed_fields_from_accelerate_config = ""
    _, environment = prepare_deepspeed_cmd_env(args)
    assert environment["ACCELERATE_USE_DEEPSPEED"] == "true"
    with patch_environment(**only_new(environment)):
        plugin = DeepSpeedPlugin()
    assert plugin.zero_stage == stage
    assert plugin.deepspeed_config["gradient_accumulation_steps"] == "auto"
    assert plugin.deepspeed_config["gradient_clipping"] == "auto"
    assert plugin.deepspeed_config["train_micro_batch_size_per_gpu"] == "auto"
    assert plugin.zero3_init_flag is False
    assert plugin.zero3_save_16bit_model is (stage == 3)


def only_new(environment):
    return {name: value for name, value in environment.items() if os.environ.get(name) != value}
