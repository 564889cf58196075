"""One entry of tests/golden/manifest.json, with numbers computed by the original code."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MANIFEST = json.loads((GOLDEN / "manifest.json").read_text(encoding="utf-8"))
ENTRIES: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in MANIFEST["entries"]}


@dataclass(frozen=True)
class Case:
    """Inputs and outputs of the original; `ctor` are the arguments of its constructor. `checked` are the outputs that
    have been compared."""

    entry: dict[str, Any]
    checked: set[str] = field(default_factory=set)

    @property
    def ctor(self) -> dict[str, Any]:
        return self.entry["ctor"]

    @property
    def outputs(self) -> list[str]:
        return self.entry["outputs"]

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return load_file(GOLDEN / self.entry["file"])

    def input(self, name: str) -> Tensor:
        return self._tensors[f"input.{name}"]

    def double(self, name: str) -> Tensor:
        """An input in double precision. What a deep network's float32 rounds differently on another processor can pass
        the tolerance; of two float32 runs one is the original's, the other need not be ours."""
        return self.input(name).double()

    def has_input(self, name: str) -> bool:
        return f"input.{name}" in self._tensors

    def output(self, name: str) -> Tensor:
        return self._tensors[f"output.{name}"]

    def weights(self, part: str = "") -> dict[str, Tensor]:
        """Return the state dict, or its entries with the prefix `part`, without that prefix."""
        where = self.entry["weights"]
        prefix = where["prefix"] + part
        tensors = load_file(GOLDEN / where["file"])
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    def loaded(self, module: nn.Module, part: str = "") -> Any:
        """Load the weights of the case strictly into `module`; return it in eval mode."""
        module.load_state_dict(self.weights(part))
        return module.eval()

    def check(self, *, tolerance: float | None = None, **ours: Tensor) -> None:
        """Every named output agrees with the original's within the entry's tolerance (or another one), relative to the
        largest number of that output (as the manifest says)."""
        tolerance = tolerance or self.entry["suggested_tolerance"]
        for name, value in ours.items():
            reference = self.output(name)
            assert value.shape == reference.shape, name
            self.checked.add(name)
            error = (value.detach().double() - reference.double()).abs().max().item()
            limit = tolerance * max(1.0, reference.double().abs().max().item())
            assert error <= limit, f"{self.entry['name']}: {name} is off by {error:.3g}, allowed are {limit:.3g}"


def recorded(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Return a dictionary that records the output of each module when it runs."""
    outputs: dict[str, Tensor] = {}
    for name, module in modules.items():
        module.register_forward_hook(lambda _m, _i, out, name=name: outputs.__setitem__(name, torch.as_tensor(out)))
    return outputs
