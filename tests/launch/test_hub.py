"""`scripts/embeddings.py push` with huggingface_hub itself, against a server on this machine that records it all."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch

from launch.embeddings import main
from launch.shell import SCRIPTS
from textual_inversion.words.file import FILE_NAME, LearnedWord


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does for small files; `got` collects (path, authorization, content)."""

    protocol_version = "HTTP/1.1"
    got: list

    def do_POST(self):
        content = self._content()
        self.got.append((self.path, self.headers.get("Authorization"), content))
        answer = {"url": "http://127.0.0.1/me/toy", "errors": [], "warnings": []}
        if "/preupload/" in self.path:
            files = json.loads(content)["files"]
            answer = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        elif "/commit/" in self.path:
            answer = {"success": True, "commitOid": "a" * 40, "commitUrl": "http://127.0.0.1/me/toy/commit/a"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def _content(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while length := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_):
        pass


@pytest.mark.integration
def test_push_sends_the_files_of_the_card_with_the_users_token_and_nothing_else(tmp_path):
    LearnedWord("S*", torch.ones(1, 256), {"steps": 600}).save(tmp_path / "cat.safetensors")
    folder = tmp_path / "toy"
    assert main(["card", str(tmp_path / "cat.safetensors"), str(folder), "--license", "mit"]) == 0
    (folder / "private.txt").write_text("mine")
    handler = type("Recording", (Hub,), {"got": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        hub = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_TOKEN": "hf_mine", "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, str(SCRIPTS / "embeddings.py"), "push", str(folder), "me/toy", "--private"]
        done = subprocess.run(command, env=os.environ | hub, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0 and "is at http://127.0.0.1/me/toy/commit/a" in done.stdout, done.stdout + done.stderr
    ((_, token, created),) = [each for each in handler.got if each[0] == "/api/repos/create"]
    assert token == "Bearer hf_mine" and b"private" in created
    ((_, token, sent),) = [each for each in handler.got if "/commit/" in each[0]]
    lines = [json.loads(line) for line in sent.splitlines()]
    assert token == "Bearer hf_mine"
    assert {line["value"]["path"] for line in lines if line["key"] != "header"} == {
        "README.md",
        FILE_NAME,
        "token_identifier.txt",
    }
