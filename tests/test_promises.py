"""Every promise of docs/promises.md names its proof, and its figures are those of the records and the tests."""

import json
import re

import pytest

from tests.conftest import ROOT
from tests.launch import test_broken_records as records
from tests.launch import test_hostile as hostile
from tests.launch import test_mistakes_table as mistakes
from tests.parity.case import ENTRIES

PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
PROMISES = {promise: (proof, measured) for promise, proof, measured in ROWS[1:] if not promise.startswith("**")}


def measured(case: str) -> dict[str, dict]:
    return json.loads((ROOT / "assets" / "benchmarks" / f"{case}.json").read_text(encoding="utf-8"))["results"]


def kills() -> str:
    found = measured("kills").values()
    count, kinds = sum(result["kills"] for result in found), len(found)
    differences = sum(result["differences"] for result in found)
    return f"{count:.0f} kills of {kinds} kind{'s' * (kinds > 1)} of training, {differences:.0f} differences"


def fuzz() -> str:
    found = measured("fuzz").values()
    files, escapes = sum(result["files"] for result in found), sum(result["escapes"] for result in found)
    seconds, extra = (max(result[most] for result in found) for most in ("most seconds", "most extra bytes"))
    return (
        f"{files:,} files for {len(found)} readers: {escapes} escapes, at most {seconds:.2f} s and {extra / 1e6:.2f} MB"
    )


def hostile_files() -> str:
    sizes = len(hostile.HOSTILE) + len(hostile.OPCODES), len(hostile.FORMS), len(hostile.SUFFIXES), len(hostile.READERS)
    programs, forms, suffixes, readers = sizes
    return (
        f"{programs} programs in {forms} forms under {suffixes} suffixes for {readers} readers: "
        f"{programs * forms * suffixes * readers:,} files, all refused"
    )


def memory() -> str:
    peaks = {name: f"{result['peak'] / 1e6:.0f}" for name, result in measured("memory").items()}
    return f"{peaks['pack of 1']} MB, diffusers {peaks['diffusers']}; a pack of 8 takes {peaks['pack of 8']}"


def loading() -> str:
    found = measured("loading").values()
    ratio, imports = (max(result[name] for result in found) for name in ("ratio", "imports"))
    return f"{ratio:.2f} times a file of 1 GB at the peak, of which Python and torch take {imports / 1e9:.2f}"


def steady() -> str:
    memory, files, times = (
        [part[name] for part in measured("steady").values()]
        for name in ("memory", "open files", "processor ms of a step")
    )
    return (
        f"{min(memory) / 1e6:.0f} to {max(memory) / 1e6:.0f} MB, {max(files):.0f} open files; a step takes "
        f"{times[0]:.1f} ms of processor time in the first tenth, {times[-1]:.1f} in the last and at most "
        f"{max(times):.1f} between, while other work kept the cores busy"
    )


FIGURES = {
    "`case=kills`": kills,
    "`case=fuzz`": fuzz,
    "`case=memory`": memory,
    "`case=loading`": loading,
    "`case=steady`": steady,
    "test_hostile.py": hostile_files,
    "test_broken_records.py": lambda: f"{len(records.BROKEN)} broken JSON files, {len(records.TABLES)} broken tables",
    "test_mistakes_table.py": lambda: f"{len(mistakes.FEW) + len(mistakes.MANY)} mistakes",
    "test_manifest.py": lambda: f"{len(ENTRIES)} entries",
}


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_names_a_test_or_a_benchmark_that_exists(promise):
    proof, _ = PROMISES[promise]
    files, cases = re.findall(r"`(tests/\S+\.py)`", proof), re.findall(r"`case=(\w+)`", proof)
    assert files or cases
    for file in files:
        assert re.search(r"^def test_", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), file
    for case in cases:
        assert (ROOT / "configs" / "case" / f"{case}.yaml").is_file() and measured(case)


@pytest.mark.parametrize("proof", FIGURES)
def test_a_figure_is_that_of_its_record_or_its_test(proof):
    (found,) = {figure for proofs, figure in PROMISES.values() if proof in proofs}
    assert found == FIGURES[proof]()
