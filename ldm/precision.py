"""Which precisions are worth computing in on this machine."""

import torch


def fast_precisions() -> list[torch.dtype]:
    """Return float32, and bfloat16 on a GPU or on a CPU with units for it (AMX, or AVX-512 BF16). Other CPUs emulate
    bfloat16: a product of matrices then takes about a hundred times as long (measured with AVX2 and torch 2.13)."""
    units = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return [torch.float32, torch.bfloat16] if units or torch.cuda.is_available() else [torch.float32]
