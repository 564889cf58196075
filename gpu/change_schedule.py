"""Give a diffusion model another noise schedule, on a CPU. First the time embedding is fitted to give at each timestep
what it gave at the old one of the same signal-to-noise ratio. Then the UNet is calibrated for the timesteps with more
noise than before, by the loss; below them the model of before is the teacher. Half an hour on one core.

python gpu/change_schedule.py --model <ldm> --images <images.npy of the training set> --out <ldm>
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ldm.models import toyland
from ldm.modules.layers import timestep_embedding
from ldm.schedule import TABLES, scaled_linear_betas, schedule_buffers
from ldm.weights.checkpoint import read_weights, write_weights
from toyland.dataset import RenderedScenes

OLD = schedule_buffers(scaled_linear_betas(1000, 0.00085, 0.012))["alphas_cumprod"]
BATCH, ABOVE, MARGIN, RATE = 32, 16, 20, 5e-5


def log_snr(alpha_bar):
    return (alpha_bar / (1 - alpha_bar)).log().double().numpy()


def fit_time_embedding(unet, alpha_bar, steps):
    """Fit it in place."""
    old = np.interp(-log_snr(alpha_bar), -log_snr(OLD), np.arange(1000.0))
    wanted, given = (timestep_embedding(torch.tensor(t), unet.model_channels) for t in (old, np.arange(1000.0)))
    target = F.silu(unet.time_embed(wanted).detach())
    optimizer = torch.optim.Adam(unet.time_embed.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = (F.silu(unet.time_embed(given)) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print("time embedding:", float(loss.detach()), "of", float(target.var()), flush=True)


@torch.no_grad()
def encode(model, images):
    parts = torch.from_numpy(images).permute(0, 3, 1, 2).split(50)
    posteriors = [model.encode_first_stage(part.float() / 127.5 - 1) for part in parts]
    return torch.cat([torch.stack([p.mean, p.std], 1) for p in posteriors])


def calibrate(model, moments, ids, steps):
    """Train the UNet in place; its weights are averaged at the end."""
    teacher, unet, text = copy.deepcopy(model.unet).requires_grad_(False), model.unet, model.text_encoder
    first = int((model.alpha_bar < OLD[-1]).nonzero()[0])
    empty, params = text.tokenize([""])[0], list(unet.parameters())
    optimizer = torch.optim.AdamW(params, lr=RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    average = [p.detach().clone() for p in params]
    for step in range(steps):
        rng = torch.Generator().manual_seed(1000 + step)
        rows, draw = (torch.randint(0, n, (BATCH,), generator=rng) for n in ids.shape[:2])
        above = torch.randint(first - MARGIN, 1000, (ABOVE,), generator=rng)
        t = torch.cat([above, torch.randint(0, first, (BATCH - ABOVE,), generator=rng)])
        dropped = torch.rand(BATCH, generator=rng) < 0.1
        mean, std = moments[rows].unbind(1)
        z_0 = mean + std * torch.randn(mean.shape, generator=rng)
        eps = torch.randn(z_0.shape, generator=rng)
        a = model.alpha_bar[t][:, None, None, None]
        z_t = a.sqrt() * z_0 + (1 - a).sqrt() * eps
        with torch.no_grad():
            c = text.encode(text.embed(torch.where(dropped[:, None], empty, ids[rows, draw])))
            target = torch.cat([eps[:ABOVE], teacher(z_t[ABOVE:], t[ABOVE:], c[ABOVE:])])
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 20, (steps - step) / (0.4 * steps))
        off = (unet(z_t, t, c) - target).square().mean(dim=(1, 2, 3))
        optimizer.zero_grad()
        (off[:ABOVE].mean() + off[ABOVE:].mean()).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        keep = min(0.98, (2 + step) / (11 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, params, 1 - keep)
        if step % 25 == 0:
            print(step, "above", float(off[:ABOVE].mean()), "from the teacher", float(off[ABOVE:].mean()), flush=True)
    with torch.no_grad():
        torch._foreach_copy_(params, average)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--fit", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=450)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = toyland("assets/toyland/vocab.txt")
    stored = {n: v for n, v in read_weights(given.model).items() if n not in TABLES}  # the tables are those of OLD
    model.load_state_dict({n: v.float() for n, v in stored.items()}, strict=False)
    fit_time_embedding(model.unet, model.alpha_bar, given.fit)
    scenes = RenderedScenes("none", 1, 48_000, plain=0.3)
    said = [[scenes.caption(i, draw) for draw in range(3)] for i in range(given.count)]
    ids = torch.stack([model.text_encoder.tokenize(texts) for texts in said])
    images = np.load(given.images, mmap_mode="r")[: given.count].copy()
    calibrate(model, encode(model, images), ids, given.steps)
    write_weights(given.out, model.state_dict())


if __name__ == "__main__":
    main()
