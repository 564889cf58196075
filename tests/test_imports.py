"""The allowed imports between packages and other cheap rules, checked in the source without importing any module."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What each package may import beside itself and the standard library. Hydra, OmegaConf and W&B are launch's; scripts/
# and tests/ may import everything, and nothing else imports launch.
ARROWS = {
    "toyland": {"numpy", "cv2", "tqdm"},
    "ldm": {"torch", "pytorch_lightning", "einops", "transformers", "safetensors", "numpy", "PIL", "tqdm"},
    "textual_inversion": {
        "ldm", "torch", "pytorch_lightning", "einops", "transformers", "safetensors", "numpy", "PIL", "matplotlib",
        "scipy", "tqdm",
    },
    "launch": {
        "toyland", "ldm", "textual_inversion", "hydra", "omegaconf", "wandb", "torch", "pytorch_lightning", "diffusers",
        "huggingface_hub", "safetensors", "numpy", "pandas", "PIL", "tqdm", "psutil", "filelock", "yaml", "gradio",
    },
}  # fmt: skip
CODE = [*ARROWS, "scripts"]
MAX_LINES = 300
VAGUE_NAMES = {"utils", "common", "constants"}


def python_files(folders: list[str]) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Return (line, module, name) of every absolute import at any depth; `name` is empty for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)


def calls(tree: ast.AST, function: str) -> list[int]:
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [node.lineno for node in nodes if isinstance(node.func, ast.Name) and node.func.id == function]


def forbidden_imports(package: str, tree: ast.AST) -> list[tuple[int, str]]:
    allowed = ARROWS[package] | {package} | sys.stdlib_module_names
    return [(line, module) for line, module, _ in imports(tree) if module.split(".")[0] not in allowed]


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize("package", ARROWS)
def test_a_package_imports_only_what_its_arrows_allow(package):
    found = [(path, *hit) for path in python_files([package]) for hit in forbidden_imports(package, parse(path))]
    assert not found, [f"{where(path, line)} imports {module}" for path, line, module in found]


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("toyland", "import torch"),
        ("toyland", "from ldm.unet import UNet"),
        ("ldm", "def f():\n    import wandb"),
        ("ldm", "from textual_inversion import Concept"),
        ("ldm", "from launch import jobs"),
        ("textual_inversion", "import toyland.scene as scene"),
        ("textual_inversion", "from hydra.utils import instantiate"),
        ("textual_inversion", "from launch.command import command"),
        ("launch", "from scripts.train import main"),
    ],
)
def test_the_walk_sees_a_forbidden_import(package, source):
    assert forbidden_imports(package, ast.parse(source))


def test_every_package_has_files_to_walk():
    assert [package for package in ARROWS if not python_files([package])] == []


def test_scripts_are_doors_that_nobody_goes_through_from_inside():
    """No file of scripts/ is imported, and each fits on one screen."""
    doors = {path.stem for path in python_files(["scripts"])}
    hits = [where(path, line) for path in python_files([*CODE, "tests"]) for line, module, _ in imports(parse(path))
            if module.split(".")[0] in {"scripts", *doors}]  # fmt: skip
    assert not hits, hits
    long = [path.name for path in python_files(["scripts"]) if len(path.read_text(encoding="utf-8").splitlines()) > 50]
    assert not long, long


def test_ldm_takes_only_tokenizers_from_transformers():
    hits = [(path, line, name) for path in python_files(["ldm"]) for line, module, name in imports(parse(path))
            if module.split(".")[0] == "transformers" and "Tokenizer" not in name]  # fmt: skip
    assert not hits, [f"{where(path, line)} takes {name or 'all of transformers'}" for path, line, name in hits]


def test_packages_use_each_others_public_names_only():
    hits = []
    for path in python_files(CODE):
        for line, module, name in imports(parse(path)):
            package = module.split(".")[0]
            foreign = package in ARROWS and package != path.relative_to(ROOT).parts[0]
            if foreign and any(part.startswith("_") for part in [*module.split("."), name]):
                hits.append(f"{where(path, line)} takes {module}.{name}")
    assert not hits


def test_packages_log_instead_of_printing():
    hits = [where(path, line) for path in python_files(list(ARROWS)) for line in calls(parse(path), "print")]
    assert not hits, f"print( in {hits}"


def test_assert_stays_in_tests():
    hits = [where(path, node.lineno) for path in python_files(CODE) for node in ast.walk(parse(path))
            if isinstance(node, ast.Assert)]  # fmt: skip
    assert not hits, f"assert in {hits}: raise ValueError with the offending value"


def test_no_file_is_longer_than_a_sitting():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files([*CODE, "tests"])}
    long = {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > MAX_LINES}
    assert not long, f"over {MAX_LINES} lines: {long}"


def test_files_are_named_after_what_they_hold():
    vague = [str(path.relative_to(ROOT)) for path in python_files([*CODE, "tests"]) if path.stem in VAGUE_NAMES]
    assert not vague, f"a name that says nothing: {vague}"
