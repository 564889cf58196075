"""Toyland's models on one GPU, in minutes, by three processes that need no decision: everything is rendered on all
cores, --role first_stage trains the autoencoder and encodes the images, --role diffusion compiles the diffusion model
meanwhile and then trains it, --role judges trains the classifier, the CLIP, the judge of looks and the re-identifier.

for role in first_stage diffusion judges; do python gpu/toyland_gpu.py --role $role --out $OUT & done; wait
A second command on the same warm machine ends the diffusion model: --role diffusion --out $OUT --go-on --until 110
With --start assets/toyland, the autoencoder is kept, and the diffusion model, the classifier and the CLIP are trained further.
"""

import argparse
import json
import math
import multiprocessing
import os
import re
import time
from pathlib import Path

import numpy as np

STARTED = float(os.environ.get("STARTED", time.time()))
CHUNK, VAL, COUNT = (128, 512, 100_000) if not os.environ.get("TINY") else (16, 32, 256)
VOCABULARY = "assets/toyland/vocab.txt"
DRAWS, CLIP_DRAWS, LENGTH = 3, 2, 36
_PIECE = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")


def say(*what):
    print(f"{time.time() - STARTED:6.1f} s ", *what, flush=True)


# ---------------------------------------------------------------- rendering


def module_of(experiment, *overrides, **parts):
    """The module of an experiment's config."""
    import launch  # registers the resolvers  # noqa: F401
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    with initialize_config_dir(str(Path("configs").resolve()), version_base="1.3"):
        config = compose("train", [f"experiment={experiment}", *overrides])
    return instantiate(config.module, _convert_="all", **parts)


def source_of(kind):
    """The data set of a kind, with the seeds of the configs, and how many images of it there are."""
    from toyland import dataset

    few = bool(os.environ.get("TINY"))
    made = {
        "train": (dataset.RenderedScenes, {"seed": 1, "plain": 0.3}, COUNT),
        "val": (dataset.RenderedScenes, {"seed": 2, "held_out": True}, VAL),
        "faces": (dataset.RenderedFaces, {"seed": 5}, 48 if few else 32_000),
        "faces_val": (dataset.RenderedFaces, {"seed": 6, "held_out": True}, 32 if few else 1024),
        "doctors": (dataset.RenderedDoctors, {"seed": 1}, 48 if few else 8_000),
        "doctors_val": (dataset.RenderedDoctors, {"seed": 2, "held_out": True}, 32 if few else 1024),
        "toys": (dataset.RenderedToys, {"seed": 3, "toys": 64 if few else 4096}, 256 if few else 16_384),
        "toys_val": (dataset.RenderedToys, {"seed": 4, "toys": 64 if few else 1024}, 128 if few else 2048),
    }[kind]
    factory, settings, count = made
    return factory("none", count=count, **settings), count


def labels_table():
    from toyland.truth import LABELS

    return {name: list(values) for name, values in LABELS.items()}


def shapes(count):
    return {
        "images": ((count, 128, 128, 3), np.uint8), "masks": ((count, 2, 128, 16), np.uint8),
        "ids": ((count, DRAWS, LENGTH), np.int16), "clip_ids": ((count, CLIP_DRAWS, LENGTH), np.int16),
        "labels": ((count, len(labels_table())), np.int8),
    }  # fmt: skip


def open_arrays(folder, count, mode):
    return {n: np.lib.format.open_memmap(folder / f"{n}.npy", mode=mode, dtype=d, shape=s) if mode == "w+"
            else np.load(folder / f"{n}.npy", mmap_mode=mode) for n, (s, d) in shapes(count).items()}  # fmt: skip


def pieces(text, vocab):
    ids = [vocab["[CLS]"], *(vocab[w] for w in _PIECE.findall(text.lower())), vocab["[SEP]"]]
    if len(ids) > LENGTH:
        ids = [*ids[: LENGTH - 1], vocab["[SEP]"]]
    return ids + [0] * (LENGTH - len(ids))


def fill(folder, words, kind, next_chunk, done):
    import cv2

    os.nice(19)
    cv2.setNumThreads(1)
    from toyland.dataset import RenderedScenes, render_range
    from toyland.truth import truth

    vocab = {w: i for i, w in enumerate(words)}
    said, count = source_of(kind)
    said_to_clip = RenderedScenes("none", said.seed, count, held_out=said.held_out, plain=0.4)
    table = [{v: i for i, v in enumerate(values)} for values in labels_table().values()]
    names = list(labels_table())
    arrays = open_arrays(folder, count, "r+")
    while True:
        with next_chunk.get_lock():
            start = next_chunk.value
            next_chunk.value += CHUNK
        if start >= count:
            return
        stop = min(start + CHUNK, count)
        rendered = render_range(said._draw, start, stop)
        arrays["images"][start:stop], arrays["masks"][start:stop] = rendered.images, rendered.masks
        for i in range(start, stop):
            if kind in ("train", "val"):
                arrays["ids"][i] = [pieces(said.caption(i, d), vocab) for d in range(DRAWS)]
                arrays["clip_ids"][i] = [pieces(said_to_clip.caption(i, 100 + d), vocab) for d in range(CLIP_DRAWS)]
            known = truth(said._draw(i))
            arrays["labels"][i] = [t.get(known[n], -100) for n, t in zip(names, table)]
        done[start // CHUNK] = 1


class Pictures:
    """What the workers have rendered so far, on the device."""

    def __init__(self, folder, words, kind, workers):
        import torch

        count = source_of(kind)[1]
        self.count, self.ready = count, 0
        folder.mkdir(parents=True, exist_ok=True)
        self.arrays = open_arrays(folder, count, "w+")
        context = multiprocessing.get_context("spawn")
        self.next, self.done = context.Value("l", 0), context.Array("b", -(-count // CHUNK), lock=False)
        self.workers = [context.Process(target=fill, daemon=True,
                        args=(folder, words, kind, self.next, self.done)) for _ in range(workers)]  # fmt: skip
        for worker in self.workers:
            worker.start()
        kinds = {np.dtype(np.uint8): torch.uint8, np.dtype(np.int16): torch.int16, np.dtype(np.int8): torch.int8}
        self.on_device = {
            n: torch.zeros(s, dtype=kinds[np.dtype(d)], device=DEVICE) for n, (s, d) in shapes(count).items()
        }
        self.size = torch.zeros((), device=DEVICE)  # how many are there, for the graphs

    def update(self):
        """Take what has become ready, in order."""
        import torch

        stop = self.ready
        while stop < self.count and self.done[stop // CHUNK]:
            stop = min(stop + CHUNK, self.count)
        if stop > self.ready:
            for name, array in self.arrays.items():
                self.on_device[name][self.ready : stop] = torch.from_numpy(array[self.ready : stop].copy()).to(DEVICE)
            self.ready = stop
            self.size.fill_(stop)

    def wait(self, count):
        while self.ready < min(count, self.count):
            if not any(w.is_alive() for w in self.workers) and not self.done[self.ready // CHUNK]:
                raise RuntimeError("the renderers have died")
            self.update()
            time.sleep(0.05)

    def stop(self):
        self.update()
        for worker in self.workers:
            worker.terminate()


# ---------------------------------------------------------------- training


class Learner:
    """bfloat16 weights that compute, float32 ones that learn, their average; the modules of `compiled` are compiled if
    that keeps the gradients; one CUDA graph a step."""

    def __init__(
        self, modules, losses, lr, ema, betas=(0.9, 0.99), decay=0.01, warmup=200, compiled=(), graphs=True
    ):  # fmt: skip
        import torch

        self.torch, self.losses, self.peak, self.warmup, self.ema_decay = torch, losses, lr, warmup, ema
        named = {f"{i}.{n}": p for i, m in enumerate(modules) for n, p in m.named_parameters() if p.requires_grad}
        self.names, self.params, self.modules = list(named), list(named.values()), modules
        self.masters = [
            p.detach().float().to(DEVICE).clone().contiguous(memory_format=layout(p)) for p in self.params
        ]
        for m in modules:
            m.to(DEVICE, HALF, memory_format=torch.channels_last)
        self.average = [m.clone() for m in self.masters]
        for m in self.masters:
            m.grad = torch.zeros_like(m)
        self.lr = torch.tensor(lr, device=DEVICE)
        self.keep = torch.tensor(0.0, device=DEVICE)  # of the average
        decays = [m for m in self.masters if m.ndim > 1]
        others = [m for m in self.masters if m.ndim <= 1]
        groups = [{"params": decays, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(
            groups, lr=self.lr, betas=betas, fused=True, **({"capturable": True} if CUDA else {})
        )
        self.steps, self.graph, self.terms = 0, None, {}
        self._prepare(compiled, graphs and CUDA)

    def _step(self):
        torch = self.torch
        for p in self.params:
            p.grad = None
        self.terms = self.losses()
        self.terms["loss"].backward()
        with torch.no_grad():
            self._update()
        self.terms = {n: v.detach().float() for n, v in self.terms.items()} | {"norm": self.norm}

    def _update(self):
        torch = self.torch
        grads = [m.grad for m in self.masters]
        torch._foreach_copy_(grads, [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.params])
        self.norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        torch._foreach_mul_(grads, (1.0 / (self.norm + 1e-6)).clamp(max=1.0))
        self.optimizer.step()
        torch._foreach_copy_(self.params, self.masters)
        torch._foreach_mul_(self.average, self.keep)
        torch._foreach_add_(self.average, torch._foreach_mul(self.masters, 1.0 - self.keep))

    def _prepare(self, compiled, graphs):
        """Compile, try and capture; the weights are as before after it."""
        torch = self.torch
        kept = [m.clone() for m in self.masters]
        self.compiled = list(compiled) if COMPILE else []
        if self.compiled:
            self._compile()
        side = torch.cuda.Stream() if graphs else None
        if side:
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self._step()
            torch.cuda.current_stream().wait_stream(side)
            self._capture()
        else:
            self._step()
        with torch.no_grad():
            torch._foreach_copy_(self.masters, kept)
            torch._foreach_copy_(self.average, kept)
            torch._foreach_copy_(self.params, kept)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def _capture(self):
        torch = self.torch
        try:
            for p in self.params:
                p.grad = None
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._step()
            graph.replay()
            torch.cuda.synchronize()
            began = time.time()
            for _ in range(10):
                graph.replay()
            torch.cuda.synchronize()
            self.graph = graph
            say(f"graph: {100 * (time.time() - began):.1f} ms a step")
        except Exception as error:
            say("no graph:", type(error).__name__, str(error)[:300])
            torch.cuda.synchronize()

    def _gradients(self):
        torch = self.torch
        torch.manual_seed(1)
        for p in self.params:
            p.grad = None
        self.losses()["loss"].backward()
        return [torch.zeros_like(p).float() if p.grad is None else p.grad.float().clone() for p in self.params]

    def _compile(self):
        torch = self.torch
        zeros = [p for p in self.params if not p.any()]
        with torch.no_grad():
            for p in zeros:
                p.normal_(std=0.02)
        plain = self._gradients()
        began, good = time.time(), False
        try:
            for module in self.compiled:
                module.compile(dynamic=False)
            fast = self._gradients()
            sizes = torch.stack([g.norm() for g in plain])
            off = torch.stack([(a - b).norm() for a, b in zip(plain, fast, strict=True)])
            whole, worst = float(off.norm() / sizes.norm()), off / (sizes + 0.01 * sizes.norm())
            good = whole < 0.15 and float(worst.max()) < 0.5
            say(f"compiled in {time.time() - began:.0f} s; the gradient differs by {whole:.4f}, "
                f"most in {self.names[int(worst.argmax())]}, by {float(worst.max()):.4f}")  # fmt: skip
        except Exception as error:
            say("not compiled:", type(error).__name__, str(error)[:600])
        if not good:
            self._uncompile()
        with torch.no_grad():
            for p in zeros:
                p.zero_()

    def _uncompile(self):
        for module in self.compiled:
            module._compiled_call_impl = None

    def train(self, name, begin, end, shape, each=None, log_every=10.0):
        """Until `end` seconds; `shape` is constant, linear or cosine."""
        said, torch = 0.0, self.torch
        began, first = time.time(), self.steps
        while (now := time.time() - STARTED) < end or self.steps == first:
            share = min(1.0, (now - begin) / (end - begin))
            rate = {"constant": 1.0, "linear": 1 - share, "cosine": 0.5 * (1 + math.cos(math.pi * share))}[shape]
            self.lr.fill_(self.peak * rate * min(1.0, (self.steps + 1) / self.warmup))
            self.keep.fill_(min(self.ema_decay, (1 + self.steps) / (10 + self.steps)))
            if self.graph is not None:
                self.graph.replay()
            else:
                self._step()
            self.steps += 1
            if each is not None:
                each()
            if self.steps % 8 == 0 and CUDA:
                torch.cuda.synchronize()
            if now - said > log_every:
                said = now
                say(name, self.steps, {n: round(float(v), 4) for n, v in self.terms.items()})
        per_step = 1000 * (time.time() - began) / (self.steps - first)
        say(name, "done", self.steps, f"{per_step:.1f} ms a step", {n: round(float(v), 4) for n, v in self.terms.items()})

    def finish(self):
        """Load the average into the modules, in float32 and uncompiled. Returns their weights."""
        self._uncompile()
        for i, module in enumerate(self.modules):
            module.float()
            mine = {n.split(".", 1)[1]: a for n, a in zip(self.names, self.average, strict=True) if n.startswith(f"{i}.")}
            for n, p in module.named_parameters():
                if n in mine:
                    p.data = mine[n].clone()
        return [module.state_dict() for module in self.modules]

    def save(self, path):
        states = [self.optimizer.state[m] for m in self.masters]
        self.torch.save([self.masters, self.average, states, self.steps], path)

    def load(self, path):
        torch = self.torch
        masters, average, states, self.steps = torch.load(path, map_location=DEVICE, weights_only=False)
        with torch.no_grad():
            torch._foreach_copy_(self.masters, [m.detach() for m in masters])
            torch._foreach_copy_(self.params, self.masters)
            torch._foreach_copy_(self.average, average)
            for m, saved in zip(self.masters, states, strict=True):
                for name, value in self.optimizer.state[m].items():
                    value.copy_(saved[name])


def layout(p):
    import torch

    return torch.channels_last if p.ndim == 4 else torch.contiguous_format


def half(x):
    import torch

    return x.to(HALF, memory_format=torch.channels_last)


def uniform(*shape):
    import torch

    return torch.rand(shape, device=DEVICE)


def indices(source, count):
    return (uniform(count) * source.size).long()


def unpack(bits):
    """Packed masks [b, 2, 128, 16] -> [b, 2, 128, 128] of 0 and 1; packbits puts the first pixel in the highest bit."""
    import torch

    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=DEVICE)
    return ((bits[..., None] >> shifts) & 1).flatten(-2).float()


def pixels(source, rows):
    return source.on_device["images"][rows].permute(0, 3, 1, 2).float() / 127.5 - 1.0


def views(source, rows):
    """x [b, 3, 128, 128] float32 in [-1, 1], figure and face [b, 2, 128, 128], half of them mirrored."""
    import torch

    x, masks = pixels(source, rows), unpack(source.on_device["masks"][rows])
    mirror = (uniform(len(rows)) < 0.5)[:, None, None, None]
    return torch.where(mirror, x.flip(-1), x), torch.where(mirror, masks.flip(-1), masks)


class Rendered:
    """Pictures that are all there, on the device."""

    def __init__(self, folder, ready, names=("images", "masks", "ids", "clip_ids", "labels")):
        import torch

        self.ready = ready
        self.size = torch.tensor(float(ready), device=DEVICE)
        self.on_device = {
            n: torch.from_numpy(np.load(folder / f"{n}.npy", mmap_mode="r")[:ready].copy()).to(DEVICE) for n in names
        }


def started(given):
    """The diffusion model to begin with."""
    from ldm.models import toyland
    from ldm.weights.checkpoint import load_weights

    return load_weights(toyland(VOCABULARY), given.start / "ldm")


def tell(path, content):
    """Write JSON in one piece."""
    path.with_suffix(".part").write_text(json.dumps(content))
    os.replace(path.with_suffix(".part"), path)


# ---------------------------------------------------------------- the three processes


def first_stage(given):
    import torch
    import torch.nn.functional as F

    words = Path(VOCABULARY).read_text().splitlines()
    val = Pictures(given.scratch / "val", words, "val", 3)
    pictures = Pictures(given.scratch / "train", words, "train", given.workers)
    from ldm.images import psnr
    from ldm.models import TOYLAND_SCALE_FACTOR, toyland_first_stage
    from ldm.weights.checkpoint import write_weights

    ae = toyland_first_stage() if given.start is None else started(given).first_stage_model.to(DEVICE)
    pictures.wait(2 * CHUNK * given.workers if given.start is None else pictures.count)
    val.wait(VAL)
    say("first pictures", pictures.ready)

    def losses():
        x, masks = views(pictures, indices(pictures, given.ae_batch))
        weight = 1.0 + masks[:, :1] + 4.0 * masks[:, 1:]
        weight = weight / weight.mean()
        posterior = ae.encode(half(x))
        z = posterior.mean + posterior.std * torch.randn_like(posterior.mean)
        off = ae.decode(half(z)).float() - x
        l1 = (weight * off.abs()).mean()
        dx, dy = off[..., 1:] - off[..., :-1], off[..., 1:, :] - off[..., :-1, :]
        edges = (weight[..., 1:] * dx.abs()).mean() + (weight[..., 1:, :] * dy.abs()).mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        few = max(1, len(x) // 4)  # latents of half the size are a picture of half the size: no fine grain of their own
        small = ae.decoder.forward(ae.post_quant_conv(half(F.avg_pool2d(z[:few], 2)))).float()
        scale = (small - F.avg_pool2d(x[:few], 2)).abs().mean()
        mse = (weight * off.square()).mean()
        return {"loss": l1 + 2.0 * mse + 0.5 * edges + 3e-4 * kl + 0.25 * scale, "l1": l1, "mse": mse, "kl": kl}

    steps = 0
    if given.start is None:
        learner = Learner([ae], losses, given.ae_lr, 0.998, decay=0.0, warmup=100, compiled=[ae.encoder, ae.decoder])
        say("ready to train, pictures", pictures.ready)
        learner.train(
            "autoencoder",
            time.time() - STARTED,
            given.until or min(240.0, max(185.0, time.time() - STARTED + 125.0)),  # compiling may take long
            "cosine",
            lambda: pictures.update() if learner.steps % 50 == 0 else None,
        )
        learner.finish()
        steps = learner.steps
    ae.requires_grad_(False).eval()
    pictures.stop()
    write_weights(given.out / "autoencoder", ae.state_dict())
    ready = pictures.ready
    tables = {
        "moments": np.lib.format.open_memmap(given.scratch / "moments.npy", "w+", np.float16, (ready, 2, 4, 32, 32)),
        "where": np.lib.format.open_memmap(given.scratch / "where.npy", "w+", np.uint8, (ready, 2, 32, 32)),
    }

    def encode(source, rows):
        with torch.no_grad():
            p = ae.encode(pixels(source, rows))
            where = F.avg_pool2d(unpack(source.on_device["masks"][rows]), 4) * 16
            return torch.stack([p.mean, p.std], 1).half(), where.to(torch.uint8)

    own = torch.cat([encode(val, part)[0] for part in torch.arange(VAL, device=DEVICE).split(64)])
    np.save(given.scratch / "val_moments.npy", own.cpu().numpy())
    progress = {}
    every = torch.arange(ready, device=DEVICE).split(256)
    for n, rows in enumerate(every):
        moments, where = encode(pictures, rows)
        a, b = int(rows[0]), int(rows[-1]) + 1
        tables["moments"][a:b], tables["where"][a:b] = moments.cpu().numpy(), where.cpu().numpy()
        if b >= min(8192, ready) and "scale" not in progress:
            mean, std = (torch.from_numpy(tables["moments"][:b, i]).float() for i in (0, 1))
            progress["scale"] = float(1.0 / (mean.var() + std.square().mean()).sqrt())
            if given.start is not None:
                progress["scale"] = TOYLAND_SCALE_FACTOR
            say("scale", progress["scale"], "channel std", mean.std(dim=(0, 2, 3)).tolist(), "posterior", std.mean())
        if "scale" in progress and (n % 16 == 0 or b == ready):
            tell(given.scratch / "progress.json", progress | {"ready": b, "final": b == ready})
    say("encoded", ready)
    x = pixels(val, torch.arange(VAL, device=DEVICE))
    with torch.no_grad():
        x_hat = torch.cat([ae.decode(m[:, 0].float()) for m in own.split(64)])
    sheet = torch.cat([x[:12], x_hat[:12], x[12:24], x_hat[12:24]])
    save_sheet(given.out / "reconstructions.png", sheet, 12)
    report = {"steps": steps, "batch": given.ae_batch, "pictures": ready, "scale_factor": progress["scale"],
              "psnr": float(psnr(x_hat.clamp(-1, 1), x).mean()), "torch": torch.__version__}  # fmt: skip
    tell(given.out / "first_stage.json", report)
    say(report)


def diffusion(given):
    import torch

    from ldm.models import toyland, toyland_first_stage
    from ldm.sampling import Sampler
    from ldm.weights.checkpoint import load_weights, write_weights

    words = Path(VOCABULARY).read_text().splitlines()
    model = toyland(VOCABULARY) if given.start is None else started(given)
    unet, text, alpha_bar = model.unet, model.text_encoder, model.alpha_bar.to(DEVICE)
    empty = torch.tensor(pieces("", {w: i for i, w in enumerate(words)}), device=DEVICE)
    b, scale, size = given.batch, torch.ones((), device=DEVICE), torch.ones((), device=DEVICE)
    table = {
        "moments": torch.zeros(COUNT, 2, 4, 32, 32, dtype=torch.float16, device=DEVICE),
        "where": torch.zeros(COUNT, 2, 32, 32, dtype=torch.uint8, device=DEVICE),
        "ids": torch.zeros(COUNT, DRAWS, LENGTH, dtype=torch.int16, device=DEVICE),
    }

    def denoise(moments, ids):
        mean, std = moments.float().unbind(1)
        z_0 = scale * (mean + std * torch.randn_like(mean))
        t = (uniform(len(ids)) * 1000).long()
        eps = torch.randn_like(z_0)
        a = alpha_bar[t][:, None, None, None]
        z_t = a.sqrt() * z_0 + (1 - a).sqrt() * eps
        c = text.encode(text.embed(ids))
        return (eps - unet(half(z_t).to(c.dtype), t, c).float()).square(), t

    def losses():
        rows, draw = (uniform(b) * size).long(), (uniform(b) * DRAWS).long()
        ids = table["ids"][rows, draw].long()
        ids = torch.where((uniform(b) < 0.1)[:, None], empty, ids)
        square, t = denoise(table["moments"][rows], ids)
        where = table["where"][rows].float() / 16
        weight = 1.0 + where[:, :1] + 2.0 * where[:, 1:]
        weight = weight / weight.mean()
        snr = alpha_bar[t] / (1 - alpha_bar[t])
        per_sample = (weight * square).mean(dim=(1, 2, 3))
        return {"loss": (snr.clamp(max=2.0) / snr * per_sample).mean(), "mse": square.mean()}

    kinds = ("ResBlock", "SpatialTransformer", "_Layers")
    blocks = [m for part in (unet, text) for m in part.modules() if type(m).__name__ in kinds] + [unet.out]
    learner = Learner([unet, text], losses, given.lr, 0.9995, decay=0.01, warmup=400, compiled=blocks)
    state = given.scratch / "state.pt"
    if given.go_on:
        learner.load(state)
    say("ready to train")
    progress, ready, opened = {}, 0, {}

    def update():
        """Take what has been encoded."""
        nonlocal progress, ready
        if not (given.scratch / "progress.json").is_file() or progress.get("final"):
            return
        progress = json.loads((given.scratch / "progress.json").read_text())
        if not opened:
            opened.update({n: np.load(given.scratch / f"{n}.npy", mmap_mode="r") for n in ("moments", "where")})
            opened["ids"] = np.load(given.scratch / "train" / "ids.npy", mmap_mode="r")
        stop = progress["ready"]
        for name, array in opened.items():
            table[name][ready:stop] = torch.from_numpy(array[ready:stop].copy()).to(DEVICE)
        ready = stop
        size.fill_(ready)

    while not progress:
        time.sleep(0.2)
        update()
    scale.fill_(progress["scale"])
    begin = time.time() - STARTED
    learner.train(
        "diffusion",
        begin,
        given.until or 555,
        "linear" if given.go_on else given.shape,
        lambda: update() if learner.steps % 100 == 0 else None,
    )
    learner.save(given.scratch / "state.part")
    os.replace(given.scratch / "state.part", state)
    unet_weights, text_weights = learner.finish()
    ae = load_weights(toyland_first_stage(), given.out / "autoencoder")
    ldm = toyland(VOCABULARY, first_stage=ae)
    ldm.scale_factor = progress["scale"]
    ldm.unet.load_state_dict(unet_weights)
    ldm.text_encoder.load_state_dict(text_weights)
    write_weights(given.out / "ldm", ldm.state_dict())
    report = {"steps": learner.steps, "seconds": time.time() - STARTED - begin, "batch": b, "pictures": ready,
              "lr": given.lr, "scale_factor": progress["scale"], "torch": torch.__version__}  # fmt: skip
    tell(given.out / "diffusion.json", report)
    say("weights written")
    try:
        moments = torch.from_numpy(np.load(given.scratch / "val_moments.npy")).to(DEVICE)
        ids = torch.from_numpy(np.load(given.scratch / "val" / "ids.npy")[:, 0].copy()).to(DEVICE).long()
        torch.manual_seed(0)
        with torch.no_grad():
            right = torch.stack([denoise(moments, ids)[0].mean() for _ in range(4)]).mean()
        torch.manual_seed(0)
        with torch.no_grad():
            wrong = torch.stack([denoise(moments, ids.roll(1, 0))[0].mean() for _ in range(4)]).mean()
        report |= {"val_loss": float(right), "text_gap": float(wrong - right)}
        say(report)
        ldm.to(DEVICE).eval().requires_grad_(False)
        from launch.scoring.prompts import held_out_prompts

        prompts = [each.text for each in held_out_prompts(64 if CUDA else 2, 7)]
        x = ldm.sample(ldm.text_encoder(prompts), ldm.noise(0, range(len(prompts))), Sampler(40 if CUDA else 2), 4.0)
        save_sheet(given.out / "samples.png", x, 8)
    except Exception as error:
        say("samples failed", repr(error)[:800])
    tell(given.out / "diffusion.json", report)


def judges(given):
    import torch
    import torch.nn.functional as F

    from ldm.models import toyland_first_stage
    from ldm.weights.checkpoint import load_weights, write_weights

    words = Path(VOCABULARY).read_text().splitlines()
    kinds = ("faces", "doctors", "toys") if given.start is None else ("faces",)
    for kind in (f"{kind}{end}" for kind in kinds for end in ("", "_val")):
        pictures = Pictures(given.scratch / kind, words, kind, 6)
        pictures.wait(pictures.count)
        say("rendered", kind)
        del pictures
    report, table, size = {}, labels_table(), 256 if CUDA else 8
    names, seen = list(table), {}

    def whole(kind):
        seen.setdefault(kind, Rendered(given.scratch / kind, source_of(kind)[1], ("images", "masks", "labels")))
        return seen[kind]

    def right(module, held_out, x):
        truth = held_out.on_device["labels"].long()
        with torch.no_grad():
            parts = [module(part) for part in x.split(256)]
        out = {n: torch.cat([part[n] for part in parts]) for n in module.labels}
        return {
            n: round(
                float((out[n].argmax(1) == truth[:, names.index(n)])[truth[:, names.index(n)] >= 0].float().mean()), 4
            )
            for n in module.labels
        }

    def decoded(ae, kind):
        """Images that have been through the autoencoder, uint8 [n, 128, 128, 3]."""
        source, parts = whole(kind), []
        with torch.no_grad(), torch.autocast(DEVICE, HALF, enabled=CUDA):
            for rows in torch.arange(source.ready, device=DEVICE).split(128):
                x = ae.decode(ae.encode(pixels(source, rows)).mean).float().clamp(-1, 1)
                parts.append(((x + 1) * 127.5).round().byte().permute(0, 2, 3, 1))
        return torch.cat(parts)

    def attributes(name, experiment, kind, lr):
        """A learner of a classifier of attributes: a quarter of its images behind the autoencoder, a quarter blurred,
        and half of another set."""
        pictures, module = whole(kind), module_of(experiment)
        if given.start is not None:
            load_weights(module, given.start / name)
        pictures.on_device["again"] = torch.zeros_like(pictures.on_device["images"])
        other = train if name == "classifier" else pictures

        def losses():
            rows, others = indices(pictures, size // 2), indices(other, size // 2)
            x = torch.cat([pixels(pictures, rows), pixels(other, others)])
            again = pictures.on_device["again"][rows[: size // 4]].permute(0, 3, 1, 2).float() / 127.5 - 1.0
            soft = x[size // 4 : 3 * size // 4]
            amount = uniform(len(soft), 1, 1, 1)
            soft = soft * (1 - amount) + amount * F.avg_pool2d(F.pad(soft, (1, 1, 1, 1), mode="replicate"), 3, 1)
            soft = soft + 0.1 * uniform(len(soft), 1, 1, 1) * torch.randn_like(soft)
            x = torch.cat([again, soft, x[3 * size // 4 :]])
            x = torch.where((uniform(size) < 0.5)[:, None, None, None], x.flip(-1), x)
            truth = torch.cat([pictures.on_device["labels"][rows], other.on_device["labels"][others]]).long()
            parts = [
                F.cross_entropy(logits.float(), truth[:, names.index(n)], reduction="sum", ignore_index=-100) / size
                for n, logits in module(half(x)).items()
            ]
            return {"loss": torch.stack(parts).sum()}

        return Learner(
            [module], losses, lr, 0.998, betas=(0.9, 0.98), decay=0.05, warmup=100,
            compiled=[module.trunk] if name == "classifier" else [],
        )

    def judge(name, learner, kind, until):
        whole(kind).on_device["again"].copy_(decoded(ae, kind))
        learner.train(name, time.time() - STARTED, until, "cosine")
        (weights,) = learner.finish()
        module, held_out = learner.modules[0], whole(f"{kind}_val")
        x = pixels(held_out, torch.arange(held_out.ready, device=DEVICE))
        x_hat = decoded(ae, f"{kind}_val").permute(0, 3, 1, 2).float() / 127.5 - 1.0
        report[name] = {"steps": learner.steps, "renders": right(module, held_out, x),
                        "again": right(module, held_out, x_hat)}  # fmt: skip
        say(name, report[name])
        write_weights(given.out / name, weights)

    def contrast(until):
        clip = module_of("toyland_clip")
        if given.start is not None:
            load_weights(clip, given.start / "clip")
        labels = train.on_device["labels"].long()
        group = labels[:, names.index("class")] * 16 + labels[:, names.index("background")]
        order = torch.argsort(group * 1.0 + torch.rand(len(group), device=DEVICE) * 0.5)
        sizes = torch.bincount(group, minlength=256)
        starts = torch.cumsum(sizes, 0) - sizes
        alike = torch.zeros((), dtype=torch.bool, device=DEVICE)
        own = torch.arange(size, device=DEVICE)

        def losses():
            chosen = group[indices(train, 1)]
            spread = (own + uniform(size)) / size
            same = order[(starts[chosen] + (spread * sizes[chosen]).long()).clamp(max=len(order) - 1)]
            rows = torch.where(alike, same, indices(train, size))
            x = pixels(train, rows)
            x = torch.where((uniform(size) < 0.5)[:, None, None, None], x.flip(-1), x)
            zoomed = 1.0 + 0.1 * (2 * uniform(size) - 1)
            offset = 0.1 * (2 * uniform(size, 2) - 1)
            theta = torch.cat([torch.diag_embed(zoomed[:, None].expand(-1, 2)), offset[:, :, None]], 2)
            window = F.affine_grid(theta, [size, 3, 128, 128], align_corners=False)
            x = F.grid_sample(x, window, padding_mode="reflection", align_corners=False)
            ids = train.on_device["clip_ids"][rows, (uniform(size) * CLIP_DRAWS).long()].long()
            looked = clip.model.vision_model(pixel_values=half(x)).pooler_output
            read = clip.model.text_model(input_ids=ids).pooler_output
            images = F.normalize(clip.model.visual_projection(looked).float(), dim=-1)
            texts = F.normalize(clip.model.text_projection(read).float(), dim=-1)
            logits = clip.model.logit_scale.float().clamp(max=math.log(100.0)).exp() * images @ texts.T
            return {"loss": 0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own))}

        learner = Learner([clip], losses, 1e-3 if given.start is None else 5e-4, 0.998, betas=(0.9, 0.98), decay=0.1, warmup=100, graphs=False)
        learner.train("clip", time.time() - STARTED, until, "cosine", lambda: alike.fill_(learner.steps % 2 == 1))
        (weights,) = learner.finish()
        write_weights(given.out / "clip", weights)
        report["clip"] = {"steps": learner.steps}

    def reidentify(until):
        pictures, held_out = whole("toys"), whole("toys_val")
        toys, classes = source_of("toys")[0].toys, 16
        classifier = load_weights(module_of("toyland_classifier"), given.out / "classifier")
        module = module_of("toyland_reidentifier", network=classifier)
        things, batch = toys // classes, 64 if CUDA else 4
        photos = pictures.ready // toys

        def losses():
            kind = (uniform(1) * classes).long()
            chosen = torch.rand(things, device=DEVICE).argsort()[:batch] * classes + kind
            first = (uniform(len(chosen)) * photos).long()
            second = (first + 1 + (uniform(len(chosen)) * (photos - 1)).long()) % photos
            x = pixels(pictures, torch.cat([chosen + toys * first, chosen + toys * second]))
            mirror = (uniform(len(chosen)) < 0.5)[:, None, None, None].repeat(2, 1, 1, 1)
            x = torch.where(mirror, x.flip(-1), x)
            amount = uniform(len(x), 1, 1, 1)
            x = x * (1 - amount) + amount * F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
            x = x + 0.05 * uniform(len(x), 1, 1, 1) * torch.randn_like(x)
            ours, others = module(half(x)).chunk(2)
            return {"loss": module._loss(ours, others)}

        learner = Learner([module], losses, 5e-4, 0.998, betas=(0.9, 0.98), decay=0.05, warmup=100)
        learner.train("reidentifier", time.time() - STARTED, until, "cosine")
        (weights,) = learner.finish()
        few = source_of("toys_val")[0].toys
        x = pixels(held_out, torch.arange(2 * few, device=DEVICE))
        with torch.no_grad():
            e = torch.cat([module(part) for part in x.split(256)])
        found = [
            (e[kind:few:classes] @ e[few + kind : 2 * few : classes].T).argmax(1)
            == torch.arange(few // classes, device=DEVICE)
            for kind in range(classes)
        ]
        report["reidentifier"] = {"steps": learner.steps, "found": round(float(torch.cat(found).float().mean()), 4)}
        say("reidentifier", report["reidentifier"])
        write_weights(given.out / "reidentifier", weights)

    for kind in kinds:
        whole(kind)
    while not (given.scratch / "progress.json").is_file() or not json.loads(
        (given.scratch / "progress.json").read_text()
    )["final"]:  # fmt: skip
        time.sleep(0.2)
    ready = json.loads((given.scratch / "progress.json").read_text())["ready"]
    train = Rendered(given.scratch / "train", ready, ("images", "clip_ids", "labels"))
    ae = load_weights(toyland_first_stage(), given.out / "autoencoder").to(DEVICE).eval().requires_grad_(False)
    say("ready to train")
    begin, until = time.time() - STARTED, given.until or 430
    shares = (0.43, 0.53, 0.78, 1.0) if given.start is None else (0.55, 0, 1.0, 0)
    ends = [begin + share * (until - begin) for share in shares]
    for name, train_it in (
        ("classifier", lambda: judge("classifier", attributes("classifier", "toyland_classifier", "faces", 2e-3 if given.start is None else 1e-3), "faces", ends[0])),
        ("looks", lambda: judge("looks", attributes("looks", "toyland_looks", "doctors", 2e-3), "doctors", ends[1])),
        ("clip", lambda: contrast(ends[2])),
        ("reidentifier", lambda: reidentify(ends[3])),
    ):  # fmt: skip
        if given.start is not None and name in ("looks", "reidentifier"):
            continue
        try:
            train_it()
        except Exception as error:
            say(name, "failed", repr(error)[:900])
    tell(given.out / "judges.json", report)
    say(report)


def main():
    global DEVICE, CUDA, HALF, COMPILE
    roles = {"first_stage": first_stage, "diffusion": diffusion, "judges": judges}
    parser = argparse.ArgumentParser()
    parser.add_argument("--role", choices=list(roles), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm/toyland"))
    parser.add_argument("--until", type=float, help="seconds since STARTED")
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--ae-batch", type=int, default=16)
    parser.add_argument("--ae-lr", type=float, default=1e-3)
    parser.add_argument("--shape", choices=("constant", "linear"), default="constant", help="of the diffusion model's rate")
    parser.add_argument("--start", type=Path, help="folder with ldm/, classifier/ and clip/ to begin with")
    parser.add_argument("--go-on", action="store_true", help="from the last command's state to a rate of zero")
    given = parser.parse_args()
    import torch

    CUDA = torch.cuda.is_available()
    DEVICE = "cuda" if CUDA else "cpu"
    HALF = torch.bfloat16 if CUDA else torch.float32  # CPUs are for trying it out
    COMPILE = CUDA or bool(os.environ.get("COMPILE"))
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch._dynamo.config.recompile_limit = 128
    given.out.mkdir(parents=True, exist_ok=True)
    given.scratch.mkdir(parents=True, exist_ok=True)
    roles[given.role](given)


def save_sheet(path, x, columns):
    from PIL import Image

    images = ((x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    rows = [np.concatenate(list(images[i : i + columns]), 1) for i in range(0, len(images), columns)]
    rows = [np.pad(r, ((0, 0), (0, rows[0].shape[1] - r.shape[1]), (0, 0))) for r in rows]
    Image.fromarray(np.concatenate(rows)).save(path)


if __name__ == "__main__":
    main()
