"""Helpers that run the page of scripts/app.py and act on it in a browser, as a person does."""

import io
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from launch.app.trainings import RECORD
from ldm.files import read_json

ROOT = Path(__file__).resolve().parents[1]
CAT = sorted((ROOT / "assets/concepts/cat_toy").glob("*.webp"))
HOST = "127.0.0.1"


@contextmanager
def served(folder, *settings):
    """Run the page in `folder` for the block, and yield its address."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "scripts/app.py"), f"port={port}", *settings]
    output = folder / "output.txt"
    with output.open("wb") as file:
        server = subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
    try:
        while "the page is at" not in output.read_text() and server.poll() is None:
            time.sleep(0.2)
        assert server.poll() is None, output.read_text()
        heard = [each for each in psutil.Process(server.pid).net_connections() if each.status == psutil.CONN_LISTEN]
        assert {each.laddr for each in heard} == {(HOST, port)}
        yield f"http://{HOST}:{port}/"
    finally:
        server.terminate()
        server.wait(30)
        for record in folder.glob(f"outputs/app/*/{RECORD}"):
            with suppress(psutil.NoSuchProcess):
                psutil.Process(read_json(record)["pid"]).kill()


def upload(page, files):
    page.locator("input[type=file]").first.set_input_files([str(file) for file in files])


def said(page, text):
    page.get_by_text(text).locator("visible=true").first.wait_for()


def learn(page, files=CAT, word="cat", steps=20):
    upload(page, files)
    page.locator("#crops img").nth(len(files) - 1).wait_for()
    page.get_by_label("What do they show?").fill(word)
    page.get_by_label("What do they show?").press("Enter")
    page.get_by_label("Steps").fill(str(steps))
    page.get_by_role("button", name="Learn the word").click()


def status(page, phase):
    """Wait until the training of the tab is in that phase; return its name and step."""
    found = page.locator(f'#status [data-phase="{phase}"]')
    found.wait_for()
    return found.inner_text().split()[0], int(found.get_attribute("data-step"))


def at_step(page, least):
    """Wait until the training of the tab has done `least` steps; return the number."""
    page.wait_for_function(f"Number(document.querySelector('#status [data-step]')?.dataset.step ?? -1) >= {least}")
    return int(page.locator("#status [data-step]").get_attribute("data-step"))


def go_to(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def images_in(page, gallery, count):
    """Return the pixels of the `count` images of a gallery, when it has them."""
    images = page.locator(f"#{gallery} img")
    images.nth(count - 1).wait_for()
    addresses = [image.get_attribute("src") for image in images.all()]
    return [np.asarray(Image.open(io.BytesIO(page.request.get(each).body())).convert("RGB")) for each in addresses]
