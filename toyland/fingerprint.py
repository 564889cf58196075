"""The version of the world: a hash of the code that determines pixels."""

import ast
import hashlib
from pathlib import Path
from typing import Any

# They do not determine pixels. `dataset` must only choose a function of `draws`: what a scene shows belongs there.
_NOT_PIXELS = frozenset(
    f"{name}.py" for name in "__init__ captions dataset errors fingerprint mistakes truth wording".split()
)


def world_fingerprint(folder: Path | None = None) -> str:
    """Return a hash of the code that determines pixels: the whole package (or `folder`) except `_NOT_PIXELS`. Comments,
    docstrings, layout and the version of Python do not change it. The versions of numpy and OpenCV are not part of
    it."""
    folder = folder or Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        if path.name not in _NOT_PIXELS:
            digest.update(path.name.encode() + _code(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


def _code(source: str) -> str:
    """Return the syntax tree of `source` as text, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() if ast.get_docstring(node) is not None:
                node.body = node.body[1:]
    return _dump(tree)


def _dump(node: Any) -> str:
    """Return a node of a syntax tree as text, without empty fields: later versions of Python have more of them."""
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [f"{name}={_dump(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])]
    return f"{type(node).__name__}({', '.join(fields)})"
