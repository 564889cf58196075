"""The documentation agrees with the code: links lead somewhere, and the worked changes of docs/extending.md apply."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
DIFFS = re.findall(r"```diff\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.DOTALL)


def changed(diff: str) -> list[str]:
    return re.findall(r"^\+\+\+ b/(\S+)$", diff, re.MULTILINE)


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        if not file.startswith("http"):
            target = page.parent / file if file else page
            assert target.exists(), link
            assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("diff", DIFFS, ids=lambda diff: changed(diff)[0])
def test_a_worked_change_applies_and_touches_at_most_four_files(diff):
    assert 1 <= len(changed(diff)) <= 4
    checked = subprocess.run(["git", "apply", "--check", "-"], cwd=ROOT, input=diff, text=True, capture_output=True)
    assert checked.returncode == 0, f"update the diff in docs/extending.md: {checked.stderr}"
