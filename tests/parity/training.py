"""Checks of what happens around a model: averages of weights, learning rates, pictures."""

from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import nn

from ldm.images import to_tensor
from ldm.training.ema import EMA
from ldm.training.optimization import published_cosine, published_linear
from tests.parity.case import Case
from textual_inversion.pictures import published_square


def lit_ema(case: Case) -> None:
    """But for an average that does not warm up, which no model of the paper has."""
    names = ("0.weight", "0.bias", "1.weight")
    for i, call in enumerate(case.ctor["calls"]):
        if not call["use_num_upates"]:
            continue
        net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2, bias=False)).requires_grad_(True)
        net.load_state_dict({name: case.input(f"start.{name}") for name in names})
        ema, net.device = EMA(call["decay"]), "cpu"
        ema.on_train_start(SimpleNamespace(global_step=0), net)
        for n in range(1, call["updates"] + 1):
            for name, parameter in net.named_parameters():
                parameter += n * case.input(f"delta.{name}")
            ema.on_train_batch_end(SimpleNamespace(global_step=n), net)
            case.check(**{f"call_{i}.update_{n}.{name.replace('.', '')}": ema.average[name] for name in names})
        decays = [ema.decay_at(n) for n in range(1, call["updates"] + 1)]
        case.check(**{f"call_{i}.effective_decay": torch.tensor(decays, dtype=torch.float64)})
        ema.swap_in(net)
        case.check(**{f"call_{i}.copied.0.weight": net[0].weight})
        ema.swap_out(net)
        case.check(**{f"call_{i}.restored.0.weight": net[0].weight})


def lr_schedulers(case: Case) -> None:
    for i, call in enumerate(case.ctor["calls"]):
        given = call["params"]
        if "lr_max" in given:
            cycle = (given[name] for name in ("warm_up_steps", "max_decay_steps", "lr_start", "lr_max", "lr_min"))
            # Past its only cycle this one stays at its end.
            only = [[value] for value in cycle]
            values = [published_cosine(min(n, given["max_decay_steps"]), *only) for n in call["steps"]]
        else:
            schedule = published_linear if "Linear" in call["class"] else published_cosine
            cycles = [given[name] for name in ("warm_up_steps", "cycle_lengths", "f_start", "f_max", "f_min")]
            values = [schedule(n, *cycles) for n in call["steps"]]
        case.check(**{f"call_{i}": torch.tensor(values, dtype=torch.float64)})


def personalized_dataset(case: Case) -> None:
    """The pixels. Its length counts repeats, which a stream without epochs does not have."""
    for i, call in enumerate(case.ctor["calls"]):
        given = call["params"]
        resample = Image.Resampling.LANCZOS if given.get("interpolation") == "lanczos" else Image.Resampling.BICUBIC
        for kind in ("rgb", "rgba"):
            image = Image.fromarray(case.input(kind).numpy())
            square = published_square(image, given["size"], given["center_crop"], resample)
            pixels = to_tensor(np.asarray(square)[None])[0].permute(1, 2, 0)
            case.check(**{f"call_{i}.{kind}": pixels})
