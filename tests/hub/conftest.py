import base64
import hashlib
import json
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub.constants
import pytest
from huggingface_hub.utils import close_session

REPO_ID = "owner/student"


@dataclass
class Fault:
    """What a stage answers instead of doing its work: a status, or with ``status=None`` a closed connection."""

    status: int | None
    times: float
    after_the_work: bool = False


@dataclass
class Hub:
    """As much of the Hub as an upload needs, in memory."""

    readable: bool = True
    existing: bool = False
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    commits: list[str] = field(default_factory=list)
    branches: list[str] = field(default_factory=list)
    visibility: str | None = None
    requests: Counter = field(default_factory=Counter)
    tokens: set[str | None] = field(default_factory=set)
    faults: dict[str, Fault] = field(default_factory=dict)

    def fail(self, stage, status, times=float("inf"), after_the_work=False):
        self.faults[stage] = Fault(status, times, after_the_work)


ROUTES = [
    ("create", "POST", r"/api/repos/create"),
    ("validate", "POST", r"/api/validate-yaml"),
    ("branch", "POST", rf"/api/models/{REPO_ID}/branch/([\w-]+)"),
    ("preupload", "POST", rf"/api/models/{REPO_ID}/preupload/([\w-]+)"),
    ("batch", "POST", rf"/{REPO_ID}\.git/info/lfs/objects/batch"),
    ("upload", "PUT", r"/storage/(\w+)"),
    ("verify", "POST", r"/verify"),
    ("commit", "POST", rf"/api/models/{REPO_ID}/commit/([\w-]+)"),
    ("info", "GET", rf"/api/models/{REPO_ID}(?:/revision/([\w-]+))?"),
]


def git_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.route("GET")

    def do_POST(self):
        self.route("POST")

    def do_PUT(self):
        self.route("PUT")

    def route(self, method):
        for stage, expected_method, pattern in ROUTES:
            match = re.fullmatch(pattern, self.path.partition("?")[0])
            if match and method == expected_method:
                return self.serve(stage, match)
        self.read_body()
        self.answer(404, {"error": f"no such place: {method} {self.path}"})

    def serve(self, stage, match):
        self.hub.requests[stage] += 1
        if stage not in ("upload", "verify"):
            self.hub.tokens.add(self.headers.get("Authorization"))
        fault = self.hub.faults.get(stage)
        failing = fault is not None and fault.times > 0
        if failing:
            fault.times -= 1
            if fault.status is None and not fault.after_the_work:
                return self.hang_up()
        body = self.read_body()
        if failing and not fault.after_the_work:
            return self.answer(fault.status, {"error": f"stage {stage} refused {self.headers.get('Authorization')}"})
        status, answer = getattr(self, stage)(body, *match.groups())
        if failing:
            return self.hang_up()
        self.answer(status, answer)

    def hang_up(self):
        """Close without an answer and without reading what the client still sends."""
        self.close_connection = True
        self.connection.close()

    def read_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def create(self, body):
        if self.hub.existing:
            return 409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{REPO_ID}"}
        self.hub.existing = True
        self.hub.visibility = json.loads(body).get("visibility")
        return 200, {"url": f"{self.hub.url}/{REPO_ID}"}

    def validate(self, body):
        return 200, {"errors": [], "warnings": []}

    def branch(self, body, name):
        self.hub.branches.append(name)
        return 200, {}

    def preupload(self, body, revision):
        files = []
        for file in json.loads(body)["files"]:
            large = file["path"].endswith(".safetensors")
            known = self.hub.files.get(file["path"])
            oid = known and (hashlib.sha256(known).hexdigest() if large else git_oid(known))
            mode = "lfs" if large else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return 200, {"files": files}

    def batch(self, body):
        objects = []
        for wanted in json.loads(body)["objects"]:
            if wanted["oid"] not in self.hub.stored:
                actions = {"upload": f"{self.hub.url}/storage/{wanted['oid']}", "verify": f"{self.hub.url}/verify"}
                wanted["actions"] = {name: {"href": href, "header": {}} for name, href in actions.items()}
            objects.append(wanted)
        return 200, {"transfer": "basic", "objects": objects}

    def upload(self, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.stored[oid] = body
        return 200, {}

    def verify(self, body):
        self.hub.verified.add(json.loads(body)["oid"])
        return 200, {}

    def commit(self, body, revision):
        for line in body.decode().splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                assert value["oid"] in self.hub.verified
                self.hub.files[value["path"]] = self.hub.stored[value["oid"]]
            else:
                assert operation["key"] == "header", operation
        self.hub.commits.append(revision)
        oid = f"{len(self.hub.commits):040x}"
        return 200, {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{REPO_ID}/commit/{oid}"}

    def info(self, body, revision):
        if not self.hub.readable:
            return 401, {"error": "Repository not found"}
        return 200, {"id": REPO_ID, "sha": f"{len(self.hub.commits):040x}", "siblings": [], "tags": []}


@pytest.fixture
def hub(monkeypatch):
    """A server on loopback that the real client takes for the Hub."""
    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": state}))
    state.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", state.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    close_session()
    server.shutdown()
    server.server_close()
    thread.join()
