import ast
import shlex
import shutil
import time
import traceback

import huggingface_hub.constants
import pytest
from huggingface_hub import ModelCard

from hf_distill.errors import InputError
from hf_distill.hub import PushError, push_student
from hf_distill.hub.push import push_again_command

TOKEN = "hf_loopbacktesttoken0123456789"
REPO_ID = "owner/student"

STUDENT = {
    "config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 100,
    "tokenizer.json": b'{"version": "1.0"}',
    "tokenizer_config.json": b"{}",
    "special_tokens_map.json": b"{}",
    "vocab.txt": b"[PAD]\nword\n",
    "spiece.model": b"\x00pieces",
    "README.md": b"---\ntags:\n- distillation\n---\n\n# student\n",
    "distillation_report.json": b'{"task": "sst2"}',
}
NOT_STUDENT = [
    "training_args.bin",
    "optimizer.pt",
    "trainer_state.json",
    "distillation_report.md",
    "notes.md",
    "model.bin",
    "model.safetensors.tmp",
    "teacher_model.safetensors",
    "teacher/config.json",
    "teacher/model.safetensors",
    "checkpoint-5/model.safetensors",
    "checkpoint-5/spiece.model",
    "runs/events.out.tfevents.1",
    ".cache/token",
]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "my student"
    for name, content in STUDENT.items() | {name: b"private" for name in NOT_STUDENT}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def content_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def untouched(folder):
    before = content_of(folder)
    yield
    assert content_of(folder) == before


def push(folder, **options):
    return push_student(folder, REPO_ID, **{"token": TOKEN, "retry_waits": (0, 0), **options})


def failure(folder, caplog, **options):
    """The message of a push that fails, checked for what every such message must say and must not say."""
    with pytest.raises(PushError) as caught:
        push(folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert f"safe on disk in {folder}" in message
    assert "push it again with: python -c" in message
    assert TOKEN not in "".join(traceback.format_exception(caught.value)) and TOKEN not in caplog.text
    return message


def test_the_hub_receives_the_student_byte_for_byte_and_nothing_else(hub, folder):
    assert push(folder) == f"{hub.url}/{REPO_ID}"
    assert hub.files == STUDENT
    assert hub.commits == ["main"]
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert len(hub.stored) == 1


def test_sharded_weights_are_pushed_with_their_index(hub, folder, tmp_path):
    sharded = {
        "model-00001-of-00002.safetensors": b"first",
        "model-00002-of-00002.safetensors": b"second",
        "model.safetensors.index.json": b"{}",
    }
    shutil.copytree(folder, tmp_path / "sharded")
    (tmp_path / "sharded" / "model.safetensors").unlink()
    for name, content in sharded.items():
        (tmp_path / "sharded" / name).write_bytes(content)
    push(tmp_path / "sharded")
    assert hub.files == {name: content for name, content in (STUDENT | sharded).items() if name != "model.safetensors"}


def test_branch_and_privacy_reach_the_hub(hub, folder):
    push(folder, private=True, revision="small")
    assert hub.branches == ["small"] and hub.commits == ["small"]
    assert hub.visibility == "private"


def test_pushing_again_changes_nothing(hub, folder):
    push(folder)
    push(folder)
    assert hub.files == STUDENT and len(hub.commits) == 1


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("stage", "named"),
    [
        ("create", "creating the repository"),
        ("preupload", "uploading the files"),
        ("batch", "uploading the files"),
        ("upload", "uploading the files"),
        ("verify", "uploading the files"),
        ("validate", "committing the files"),
        ("commit", "committing the files"),
    ],
)
def test_a_refusal_is_reported_at_once(hub, folder, caplog, stage, named, status):
    hub.readable = False
    hub.fail(stage, status)
    message = failure(folder, caplog)
    assert f"{named} failed" in message and str(status) in message
    assert hub.requests[stage] == 1
    assert not hub.commits and not hub.files


def test_a_refused_creation_of_a_readable_repository_is_reported_by_the_next_stage(hub, folder, caplog):
    for stage in ("create", "preupload", "batch", "validate", "commit"):
        hub.fail(stage, 401)
    message = failure(folder, caplog)
    assert hub.requests["create"] == 1 and hub.requests["info"] == 1
    assert "uploading the files failed" in message and "401" in message
    assert not hub.commits


def test_the_token_is_masked_where_the_server_echoes_it(hub, folder, caplog):
    hub.fail("commit", 401)
    assert "stage commit refused Bearer <token>" in failure(folder, caplog)


def test_the_stored_token_is_masked_too(hub, folder, caplog, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.fail("commit", 401)
    assert "<token>" in failure(folder, caplog, token=None)
    assert hub.tokens == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("stage", ["commit", "validate"])
def test_a_commit_is_tried_again_after_a_500(hub, folder, stage):
    hub.fail(stage, 500, times=2)
    push(folder)
    assert hub.files == STUDENT
    assert hub.requests[stage] == 3 and len(hub.commits) == 1
    assert hub.requests["upload"] == 1


def test_a_commit_that_always_fails_ends(hub, folder, caplog):
    hub.fail("commit", 500)
    message = failure(folder, caplog)
    assert "committing the files failed" in message and "500" in message
    assert hub.requests["commit"] == 3
    assert not hub.files


def test_the_waits_are_those_that_were_asked_for(hub, folder, caplog, monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    hub.fail("commit", 503)
    failure(folder, caplog, retry_waits=(1, 4, 16))
    assert waited == [1, 4, 16] and hub.requests["commit"] == 4


def test_a_connection_lost_before_the_commit_is_made_up_for(hub, folder):
    hub.fail("commit", None, times=1)
    push(folder)
    assert hub.files == STUDENT and len(hub.commits) == 1


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub, folder):
    hub.fail("commit", None, times=1, after_the_work=True)
    push(folder)
    assert hub.files == STUDENT
    assert hub.requests["commit"] == 1 and len(hub.commits) == 1


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        ("create", "creating the repository"),
        ("preupload", "uploading the files"),
        ("upload", "uploading the files"),
        ("commit", "committing the files"),
    ],
)
def test_a_lost_connection_is_reported(hub, folder, caplog, monkeypatch, stage, named):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hub.fail(stage, None)
    assert f"{named} failed" in failure(folder, caplog)
    assert hub.requests[stage] <= 7
    assert not hub.commits


def test_a_hub_that_is_not_there_is_reported(hub, folder, caplog, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "creating the repository failed" in failure(folder, caplog)


def test_offline_mode_is_reported(hub, folder, caplog, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "offline" in failure(folder, caplog)
    assert not hub.requests


def test_the_command_in_the_message_pushes_the_student(hub, folder, caplog, monkeypatch):
    hub.fail("commit", 401, times=1)
    message = failure(folder, caplog, private=True, revision="small")
    program, flag, code = shlex.split(message.partition("push it again with: ")[2])
    assert (program, flag) == ("python", "-c")
    assert message.endswith(
        "python -c 'from hf_distill.hub import push_student; "
        f'push_student("{folder}", "{REPO_ID}", private=True, revision="small")\''
    )
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    exec(code, {})
    assert hub.files == STUDENT and hub.commits == ["small"]


def test_the_command_in_the_message_holds_any_name_of_a_folder(tmp_path):
    folder = tmp_path / 'jane\'s "étudiant" 😀'
    code = shlex.split(push_again_command(folder, REPO_ID, None, None))[2]
    [call] = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    assert [ast.literal_eval(argument) for argument in call.args] == [str(folder), REPO_ID]
    assert call.keywords == []


def test_a_folder_without_a_student_is_refused_before_any_request(hub, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "missing", folder / "checkpoint-5"):
        with pytest.raises(InputError, match="holds no student"):
            push(nothing)
    assert not hub.requests


def test_an_impossible_name_is_refused_before_any_request(hub, folder):
    with pytest.raises(InputError, match="name of a repository"):
        push_student(folder, "a/b/c", token=TOKEN)
    assert not hub.requests


def test_the_pushed_card_is_the_one_in_the_folder(hub, folder, tmp_path):
    push(folder)
    received = tmp_path / "received.md"
    received.write_bytes(hub.files["README.md"])
    assert ModelCard.load(received).data.tags == ["distillation"]
