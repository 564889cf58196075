"""Downloads from a server on this machine that breaks off, lies and moves."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ldm.weights import download as module
from ldm.weights.download import Unreachable, download, require_space

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    """/good serves CONTENT and knows ranges, /plain does not know them, /short breaks off, /page is HTML."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Range")))
            start = 0
            if self.path == "/gone":
                return self.send_error(404)
            if self.path == "/good" and self.headers.get("Range"):
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                if start >= len(CONTENT):
                    return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.send_header("Content-Type", "text/html" if self.path == "/page" else "application/octet-stream")
            self.end_headers()
            body = CONTENT[start:]
            self.wfile.write(
                body[:100_000] if self.path == "/short" else b"x" + body[1:] if self.path == "/other" else body
            )

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_a_file_comes_whole_and_is_not_fetched_twice(server, tmp_path):
    url, asked = server
    for _ in range(2):
        assert download([f"{url}/good"], tmp_path / "new" / "file", SHA256).read_bytes() == CONTENT
    assert len(asked) == 1 and [file.name for file in (tmp_path / "new").iterdir()] == ["file"]


def test_the_next_mirror_goes_on_where_one_broke_off(server, tmp_path):
    url, asked = server
    urls = [f"{url}/gone", f"{url}/page", f"{url}/short", f"{url}/good"]
    assert download(urls, tmp_path / "file", SHA256).read_bytes() == CONTENT
    assert asked[-1] == ("/good", "bytes=100000-")


@pytest.mark.parametrize("have", [1000, len(CONTENT)])
@pytest.mark.parametrize("page", ["good", "plain"])
def test_a_later_call_goes_on_or_starts_anew_where_ranges_are_unknown(server, tmp_path, have, page):
    url, _ = server
    (tmp_path / "file.partial").write_bytes(CONTENT[:have])
    assert download([f"{url}/{page}"], tmp_path / "file", SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("page", ["gone", "page", "short", "other"])
def test_what_is_not_the_file_is_said_and_never_gets_its_name(server, tmp_path, page):
    url, _ = server
    with pytest.raises(Unreachable, match=f"{url}/{page}"):
        download([f"{url}/{page}"], tmp_path / "file", SHA256)
    assert not (tmp_path / "file").exists()


def test_no_network(tmp_path):
    with pytest.raises(Unreachable, match="refused"):
        download(["http://127.0.0.1:9/file"], tmp_path / "file")


def test_a_full_disk_is_noticed_before(tmp_path, monkeypatch):
    usage = module.shutil._ntuple_diskusage(10**9, 10**9 - 5, 5)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    require_space(tmp_path, 5)
    with pytest.raises(ValueError, match=r"0\.0 GB free and 2\.0 GB are needed"):
        require_space(tmp_path, 2 * 10**9)
