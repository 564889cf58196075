"""Which precisions are worth computing in on this machine."""

import torch


def cpu_has_bfloat16() -> bool:
    """Return whether the CPU has units for bfloat16 (AMX, or AVX-512 BF16). Other CPUs emulate it: a product of
    matrices then takes about a hundred times as long as in float32 (measured with AVX2 and torch 2.13)."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def fast_precisions() -> list[torch.dtype]:
    """Return float32, and bfloat16 on a GPU or on a CPU with units for it."""
    return [torch.float32, *([torch.bfloat16] if torch.cuda.is_available() or cpu_has_bfloat16() else [])]
