"""The documentation agrees with the code: links lead somewhere, what it names exists, and the worked changes of
docs/extending.md apply."""

import builtins
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
DIFFS = re.findall(r"```diff\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.DOTALL)

TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
NAMING = [page for page in PAGES if page.name != "extending.md"]  # it names files that do not exist yet
PACKAGES = ("toyland", "ldm", "textual_inversion", "launch")


def changed(diff: str) -> list[str]:
    return re.findall(r"^\+\+\+ b/(\S+)$", diff, re.MULTILINE)


def headings(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub generates them."""
    found = re.findall(r"^#+ (.*)$", TEXTS.get(page, "") or page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        file, _, anchor = link.partition("#")
        if not file.startswith("http"):
            target = page.parent / file if file else page
            assert target.exists(), link
            assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.name)
def test_what_a_page_names_exists(page):
    named = re.findall(r"`([^`\n]+)`", TEXTS[page])
    folders = ("configs", "assets", "docs", "scripts", "tests", *PACKAGES)
    paths = [name for name in named if re.fullmatch(rf"({'|'.join(folders)})/[\w./-]*", name)]
    assert not [path for path in paths if not (ROOT / path).exists()]
    code = "\n".join(
        file.read_text(encoding="utf-8") for package in PACKAGES for file in (ROOT / package).rglob("*.py")
    )
    classes = [name for name in named if re.fullmatch(r"([A-Z][a-z]+)+", name) and not hasattr(builtins, name)]
    assert not [name for name in classes if not re.search(rf"\bclass {name}\b", code)]


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.name)
def test_the_options_that_a_page_chooses_exist(page):
    chosen = re.findall(r"(?<![\w.@])([a-z_]+)=([a-z]\w*)\b(?!\.)", TEXTS[page])
    configs = ROOT / "configs"
    for group, option in chosen:
        homes = [folder for folder in (configs / group, configs / "fetch" / group) if folder.is_dir()]
        assert not homes or any((folder / f"{option}.yaml").exists() for folder in homes), f"{group}={option}"


@pytest.mark.parametrize("diff", DIFFS, ids=lambda diff: changed(diff)[0])
def test_a_worked_change_applies_and_touches_at_most_four_files(diff):
    assert 1 <= len(changed(diff)) <= 4
    checked = subprocess.run(["git", "apply", "--check", "-"], cwd=ROOT, input=diff, text=True, capture_output=True)
    assert checked.returncode == 0, f"update the diff in docs/extending.md: {checked.stderr}"
