"""The page of scripts/app.py in a real browser: Debian's Chromium, without a window."""

import re
import shutil

import numpy as np
import pytest

from tests.pages import CAT, at_step, go_to, images_in, learn, said, served, status, upload
from tests.runs import vectors
from textual_inversion.picture_file import read_square
from textual_inversion.words.file import LearnedWord

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright")
pytest.importorskip("gradio", reason="the page needs Gradio")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
]
PATIENCE = 900_000.0  # of a machine that does much else; milliseconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def url(folder):
    """The address of a page with untrained networks, which are small and fast."""
    with served(folder, "debug=tiny") as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_tab(browser):
    """A function that opens a page in a new tab of the given width. No tab may ask another machine for anything."""
    foreign, opened = [], []

    def opener(address: str, width: int = 1280):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: None if request.url.startswith((address, "blob:", "data:"))
                else foreign.append(request.url))  # fmt: skip
        page.goto(address)
        page.get_by_role("button", name="Learn the word").wait_for()
        opened.append(page)
        return page

    yield opener
    for page in opened:
        page.close()
    assert foreign == []


@pytest.fixture
def tab(open_tab, url):
    return lambda width=1280: open_tab(url, width)


@pytest.fixture(scope="module")
def learned(browser, url):
    """The name of a word that was learned in 20 steps."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    learn(page)
    name, steps = status(page, "finished")
    page.close()
    assert steps == 20
    return name


def test_a_word_is_learned_by_the_shipped_model_while_the_tab_is_closed_and_put_on_the_moon(open_tab, tmp_path):
    with served(tmp_path) as address:
        page = open_tab(address)
        learn(page)
        name, _ = status(page, "running")
        page.close()
        page = open_tab(address)
        found = page.locator("#status [data-phase]").first
        found.wait_for()
        assert found.inner_text().split()[0] == name
        assert status(page, "finished") == (name, 20)
        assert len(images_in(page, "previews", 11)) == 11
        page.locator("#sheet img").wait_for()

        go_to(page, "Use")
        said(page, f"S* (outputs/app/{name})")
        page.get_by_label("Pictures of each prompt").first.fill("1")
        pictures = []
        for prompt in ("a photo of S* on the moon", "a photo of S* on the beach"):
            page.get_by_label("Prompts, one on each line").fill(prompt)
            with page.expect_response(lambda response: "/file=" in response.url and response.url.endswith(".png")):
                page.get_by_role("button", name="Generate").click()
            pictures += images_in(page, "generated", 1)
    moon, beach = pictures
    assert moon.shape == (128, 128, 3)
    assert np.abs(moon.astype(int) - beach).mean() > 10


def test_the_files_of_the_word_are_in_a_run_folder_below_the_current_one(learned, folder):
    run = folder / "outputs/app" / learned
    assert learned == "cat-1"
    assert (run / "learned_embeds.safetensors").is_file()
    assert [path.name for path in sorted((run / "pictures").iterdir())] == [f"{i:02d}.png" for i in range(len(CAT))]


def test_an_unknown_word_of_a_prompt_is_named(learned, tab):
    page = tab()
    go_to(page, "Use")
    said(page, f"S* (outputs/app/{learned})")
    page.get_by_label("Pictures of each prompt").first.fill("1")
    page.get_by_label("Prompts, one on each line").fill("a photo of S* in a helicopter")
    page.get_by_role("button", name="Generate").click()
    said(page, "The model does not know 'helicopter'")


def test_what_cannot_be_learned_from_is_named(tab, tmp_path):
    page = tab()
    broken, text = tmp_path / "broken.png", tmp_path / "notes.txt"
    broken.write_bytes(CAT[0].read_bytes()[:3000])
    text.write_text("no picture", encoding="utf-8")
    upload(page, [*CAT, broken, text])
    said(page, "5 pictures are used.")
    said(page, "broken.png is skipped: it is a PNG that cannot be decoded")
    said(page, "notes.txt is skipped: not a picture.")
    assert len(images_in(page, "crops", 5)) == 5


def test_too_many_and_too_few_pictures_are_refused(tab, tmp_path):
    page = tab()
    many = [tmp_path / f"{i:02d}.png" for i in range(30)]
    for path in many:
        shutil.copyfile(CAT[0], path)
    upload(page, many)
    said(page, "These are 30 files, and a word is learned from at most 25: remove some.")
    assert page.get_by_role("button", name="Learn the word").is_disabled()
    page = tab()
    upload(page, CAT[:2])
    said(page, "There are 2 usable pictures: add at least 1 more.")
    assert page.get_by_role("button", name="Learn the word").is_disabled()


def test_a_coarse_word_that_the_model_does_not_know_is_refused(tab):
    page = tab()
    learn(page, word="catt")
    said(page, "The word 'catt' is no word of the model's vocabulary; near it are cat")


def test_two_tabs_see_one_training_which_stops_and_goes_on(learned, tab):
    first, second = tab(), tab()
    learn(first, word="dog", steps=100_000)
    name, _ = status(first, "running")
    assert status(second, "running")[0] == name, "the second tab does not find the training"
    learn(second, word="owl")
    said(second, f"{name} is being learned, and only one word is learned at a time")
    at_step(first, 1)
    second.get_by_role("button", name="Stop").click()
    _, stopped = status(first, "stopped")
    assert status(second, "stopped") == (name, stopped)
    first.get_by_role("button", name="Go on").click()
    status(second, "running")
    assert at_step(second, stopped + 1) > stopped
    first.get_by_role("button", name="Stop").click()
    status(second, "stopped")


def test_an_edit_changes_the_brushed_part_only(learned, tab):
    page = tab()
    go_to(page, "Edit")
    page.wait_for_timeout(2000)
    page.locator("input[type=file]").nth(1).set_input_files(str(CAT[0]))
    canvas = page.locator("#editor canvas").first
    canvas.wait_for()
    page.wait_for_timeout(2000)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"], steps=10)
    page.mouse.up()
    page.get_by_label("Edits").first.fill("1")
    said(page, "S* (outputs/app/")
    page.get_by_role("button", name="Edit", exact=True).click()
    (edited,) = images_in(page, "edited", 1)
    changed = (edited != np.asarray(read_square(CAT[0], 16))).any(axis=-1)
    assert changed[7:9].any()
    assert not changed[:4].any() and not changed[-4:].any()


def test_a_word_is_read(learned, tab):
    page = tab()
    go_to(page, "Read")
    chosen = page.get_by_label("Word", exact=True).locator("visible=true")
    sync_api.expect(chosen).to_have_value(re.compile(r"^S\* "), timeout=PATIENCE)
    page.get_by_role("button", name="Read the word").click()
    said(page, "nearest are")
    page.locator(".figure img:visible").nth(2).wait_for()
    assert page.locator(".figure img:visible").count() == 3


@pytest.mark.parametrize(("form", "name"), [("diffusers (.bin)", "S.bin"), ("web UI of AUTOMATIC1111 (.pt)", "S.pt")])
def test_a_word_is_downloaded_for_another_tool(learned, folder, tab, tmp_path, form, name):
    page = tab()
    go_to(page, "Use")
    page.get_by_role("button", name="Download a word").click()
    page.get_by_label("Word", exact=True).locator("visible=true").click()
    page.get_by_role("option", name=f"S* (outputs/app/{learned})").click()
    page.get_by_label("For", exact=True).click()
    page.get_by_role("option", name=form).click()
    button = page.get_by_role("button", name="Download", exact=True).or_(page.get_by_role("link", name="Download"))
    for _ in range(60):  # until the file of this format has taken the place of the first one
        with page.expect_download() as download:
            button.first.click()
        if download.value.suggested_filename == name:
            break
        page.wait_for_timeout(1000)
    assert download.value.suggested_filename == name
    download.value.save_as(tmp_path / name)
    assert LearnedWord.load(tmp_path / name).vectors.equal(vectors(folder / "outputs/app" / learned))


def test_a_narrow_page_does_not_scroll_sideways(learned, tab):
    page = tab(390)
    page.locator("#status [data-phase]").wait_for()
    for name in ("Learn", "Use", "Edit", "Read"):
        go_to(page, name)
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
