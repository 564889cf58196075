"""A pickle machine that builds plain values and nothing else. It imports nothing and calls nothing that a file names:
what a name stands for is decided by the reader that owns the machine. Its memory and its time are bounded."""

import pickletools
from collections.abc import Callable, Hashable, Mapping
from typing import IO, Any

from .plain_values import OPERATIONS, Builder, Damaged, NotWeights, Skipped, literal, require_tree, shown

Name = tuple[str, str]  # module, name

BUILTINS = ("builtins", "__builtin__")  # the second in files of Python 2
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}
_LITERALS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8".split()
)


class Machine:
    """Runs pickles. A name in a pickle stands for a container, for one of the `builders`, by (module, name), or for
    what `find_other(module, name)` returns: a plain value or a `Skipped`. `find_stored(key)` returns what is stored
    outside of the pickle. If `whole` is True, a pickle whose values would be skipped or replaced raises NotWeights."""

    def __init__(
        self,
        builders: Mapping[Name, Callable[..., Any]],
        find_other: Callable[[str, str], Any],
        find_stored: Callable[[Any], Any] | None = None,
        whole: bool = False,
    ) -> None:
        self.find_other, self.find_stored, self.whole = find_other, find_stored, whole
        self.builders = {
            **builders,
            **{("collections", name): self._mapping for name in ("OrderedDict", "defaultdict", "Counter")},
            **{(module, "dict"): self._mapping for module in BUILTINS},
            **{(module, name): self._unordered for module in BUILTINS for name in ("set", "frozenset")},
            **{(module, "bytes"): _no_bytes for module in BUILTINS},
            ("_codecs", "encode"): self._encode,
        }
        self.left = OPERATIONS

    def load(self, file: IO[bytes]) -> Any:
        """Run one pickle from the file's position to its end. Raises NotWeights or Damaged, or whatever else a broken
        pickle leads to."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        for opcode, argument, _ in pickletools.genops(file):
            self._charge(1)
            if opcode.name == "STOP":
                (value,) = self.stack
                require_tree(value)
                return value
            self._step(opcode.name, argument)
        raise Damaged("its pickle has no end")

    def _charge(self, operations: int) -> None:
        """Count work of the reader. Raises Damaged when it exceeds what a file may ask for."""
        self.left -= operations
        if self.left < 0:
            raise Damaged("it asks for more work than any file of weights")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            stack.append(literal(argument))
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            stack.append(tuple(self._pop(_TUPLES[name])))
        elif name not in ("PROTO", "FRAME"):
            if name not in _INSTRUCTIONS:
                raise NotWeights(f"uses the pickle instruction {name}, which no weights need; no code in it was run")
            _INSTRUCTIONS[name](self, argument)

    def _pop(self, count: int) -> list[Any]:
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise Damaged("its pickle takes more than it has put down")
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _to_mark(self) -> list[Any]:
        return self._pop(len(self.stack) - self.marks.pop())

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._to_mark()))

    def _list(self, _: Any) -> None:
        self.stack.append(self._to_mark())

    def _dict(self, _: Any) -> None:
        items = self._to_mark()
        self.stack.append({})
        self._set(items)

    def _frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(map(self._key, self._to_mark())))

    def _pop_one(self, _: Any) -> None:
        self._pop(1)

    def _pop_mark(self, _: Any) -> None:
        self._to_mark()

    def _append(self, _: Any) -> None:
        self._extend(self._pop(1))

    def _appends(self, _: Any) -> None:
        self._extend(self._to_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(values)
        elif type(target) is not Skipped:
            raise Damaged(f"its pickle appends to a {type(target).__name__}")

    def _setitem(self, _: Any) -> None:
        self._set(self._pop(2))

    def _setitems(self, _: Any) -> None:
        self._set(self._to_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is dict:
            target.update(zip(map(self._key, items[::2]), items[1::2], strict=True))
        elif type(target) is not Skipped:
            raise Damaged(f"its pickle sets items of a {type(target).__name__}")

    def _additems(self, _: Any) -> None:
        values = self._to_mark()
        target = self.stack[-1]
        if type(target) is not set:
            raise Damaged(f"its pickle adds to a {type(target).__name__}")
        target.update(map(self._key, values))

    def _global(self, names: str) -> None:
        module, _, name = names.partition(" ")
        self.stack.append(self._find(module, name))

    def _stack_global(self, _: Any) -> None:
        module, name = self._pop(2)
        if type(module) is not str or type(name) is not str:
            raise Damaged("its pickle has a name that is no text")
        self.stack.append(self._find(module, name))

    def _inst(self, names: str) -> None:
        arguments = self._to_mark()
        self._global(names)
        self._call(self._pop(1)[0], tuple(arguments))

    def _obj(self, _: Any) -> None:
        function, *arguments = self._to_mark()
        self._call(function, tuple(arguments))

    def _reduce(self, _: Any) -> None:
        self._call(*self._pop(2))

    def _newobj(self, _: Any) -> None:
        self._call(*self._pop(2))

    def _newobj_ex(self, _: Any) -> None:
        function, arguments, _ = self._pop(3)
        self._call(function, arguments)

    def _call(self, function: Any, arguments: Any) -> None:
        if type(function) is Skipped:
            self.stack.append(Skipped(function.name))
        elif type(function) is Builder and type(arguments) is tuple:
            self.stack.append(function.build(*arguments))
        else:
            raise Damaged(f"its pickle calls a {type(function).__name__}")

    def _build(self, _: Any) -> None:
        """Keep the state of a skipped object. An OrderedDict may have attributes, which a dict cannot."""
        (state,) = self._pop(1)
        target = self.stack[-1]
        if type(target) is Skipped:
            target.state = state
        elif type(target) is not dict:
            raise Damaged(f"its pickle changes a {type(target).__name__}")

    def _binpersid(self, _: Any) -> None:
        if self.find_stored is None:
            raise Damaged("its pickle asks for something outside of it")
        self.stack.append(self.find_stored(self._pop(1)[0]))

    def _find(self, module: str, name: str) -> Any:
        build = self.builders.get((module, name))
        found = self.find_other(module, name) if build is None else Builder(build)
        if self.whole and type(found) is Skipped:
            raise NotWeights(f"asks for {shown(module, name)}, which no training state needs; no code in it was run")
        return found

    def _mapping(self, *arguments: Any) -> dict[Any, Any]:
        """Build a dict of nothing, of pairs, or of a dict; a defaultdict has a factory before it, which is ignored."""
        source = arguments[-1] if arguments else {}
        if type(source) is dict:
            return source
        self._charge(len(source) if type(source) is list else 0)
        return {self._key(key): value for key, value in source} if type(source) is list else {}

    def _unordered(self, values: Any = ()) -> set[Any]:
        self._charge(len(values))
        return set(map(self._key, values))

    def _encode(self, text: str, encoding: str) -> bytes:
        """Bytes, as Python 3 writes them for Python 2."""
        if encoding != "latin1":
            raise Damaged("it holds bytes in another encoding")
        self._charge(len(text) // 100)
        return text.encode("latin1")

    def _key(self, value: Any) -> Hashable:
        """Return the value as the key of a dict. Tuples, floats and large numbers are replaced: computing or comparing
        their hashes can be made to take for ever."""
        if value is None or type(value) in (str, bytes, bool, Skipped) or (type(value) is int and abs(value) < 1 << 63):
            return value
        if self.whole:
            raise NotWeights(f"has a {type(value).__name__} for a key")
        return Skipped(type(value).__name__)


def _no_bytes() -> bytes:
    """Bytes without content, as Python 3 writes them for Python 2."""
    return b""


_INSTRUCTIONS = {
    "TUPLE": Machine._tuple, "LIST": Machine._list, "DICT": Machine._dict, "FROZENSET": Machine._frozenset,
    "POP": Machine._pop_one, "POP_MARK": Machine._pop_mark, "APPEND": Machine._append, "APPENDS": Machine._appends,
    "SETITEM": Machine._setitem, "SETITEMS": Machine._setitems, "ADDITEMS": Machine._additems,
    "GLOBAL": Machine._global, "STACK_GLOBAL": Machine._stack_global, "INST": Machine._inst, "OBJ": Machine._obj,
    "REDUCE": Machine._reduce, "NEWOBJ": Machine._newobj, "NEWOBJ_EX": Machine._newobj_ex, "BUILD": Machine._build,
    "BINPERSID": Machine._binpersid,
}  # fmt: skip
