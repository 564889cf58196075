"""Toyland's models on one GPU, in minutes: everything is rendered on all cores; one process trains the autoencoder and
then the diffusion model, another one (--judge) the classifier, the CLIP, the judge of looks and the re-identifier. Each
trains until its time is over. No decision is needed; what is there is written.

python gpu/toyland_gpu.py --out $OUT --plan 200,540,560 --workers 15 & python gpu/toyland_gpu.py --out $OUT --judge
A second command on the same warm machine goes on: --start $OUT --keep-autoencoder --rendered --plan 5,100,130
"""

import argparse
import json
import math
import multiprocessing
import os
import re
import sys
import time
from pathlib import Path

import numpy as np

STARTED = float(os.environ.get("STARTED", time.time()))
CHUNK, VAL, COUNT = (128, 512, 150_000) if not os.environ.get("TINY") else (16, 32, 256)
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
        "faces": (dataset.RenderedFaces, {"seed": 5}, 48 if few else 48_000),
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
    """bfloat16 weights that compute, float32 ones that learn, their average; one CUDA graph a step."""

    def __init__(self, modules, losses, lr, ema, betas=(0.9, 0.99), decay=0.01, warmup=200, graphs=True):
        import torch

        self.torch, self.losses, self.peak, self.warmup, self.ema_decay = torch, losses, lr, warmup, ema
        named = {f"{i}.{n}": p for i, m in enumerate(modules) for n, p in m.named_parameters() if p.requires_grad}
        self.names, self.params = list(named), list(named.values())
        self.masters = [p.detach().float().to(DEVICE).clone() for p in self.params]
        for m in modules:
            m.to(DEVICE, HALF)
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
        self.steps, self.graph, self.terms, self.graphs = 0, None, {}, graphs

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

    def prepare(self):
        torch = self.torch
        if not CUDA or not self.graphs:
            return
        self.lr.fill_(1e-6)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        try:
            for p in self.params:
                p.grad = None
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._step()
            self.graph = graph
        except Exception as error:
            say("no graph:", type(error).__name__, str(error)[:300])
            torch.cuda.synchronize()

    def train(self, name, begin, end, shape, each=None, cooldown=0.3, log_every=10.0):
        """Until `end` seconds; `shape` is constant-then-linear or cosine."""
        self.prepare()
        said, torch = 0.0, self.torch
        while (now := time.time() - STARTED) < end or not self.steps:
            share = min(1.0, (now - begin) / (end - begin))
            if shape == "cosine":
                rate = 0.5 * (1 + math.cos(math.pi * share))
            else:
                rate = 1.0 if share < 1 - cooldown else (1 - share) / cooldown
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
        say(name, "done", self.steps, {n: round(float(v), 4) for n, v in self.terms.items()})

    def use_average(self):
        with self.torch.no_grad():
            self.torch._foreach_copy_(self.params, self.average)


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


def views(source, rows, flip=True):
    """x [b, 3, 128, 128] float32 in [-1, 1], figure and face [b, 2, 128, 128]."""
    import torch

    x = source.on_device["images"][rows].permute(0, 3, 1, 2).float() / 127.5 - 1.0
    masks = unpack(source.on_device["masks"][rows])
    if flip:
        mirror = (uniform(len(rows)) < 0.5)[:, None, None, None]
        x, masks = torch.where(mirror, x.flip(-1), x), torch.where(mirror, masks.flip(-1), masks)
    return x, masks


def build_autoencoder():
    from ldm.models import toyland_first_stage

    return toyland_first_stage()


def encode(ae, source):
    """Moments float16 [n, 2, 4, 32, 32]."""
    import torch

    table = []
    with torch.no_grad(), torch.autocast(DEVICE, HALF, enabled=CUDA):
        for start in range(0, source.ready, 512):
            x, _ = views(source, torch.arange(start, min(start + 512, source.ready), device=DEVICE), flip=False)
            p = ae.encode(x)
            table.append(torch.stack([p.mean, p.std], 1).half())
    return torch.cat(table)


def compile_autoencoder(ae):
    """Compile encoder and decoder in place, unless that changes the gradients: it once gave the encoder none."""
    import torch

    def gradients(encode, decode):
        ae.zero_grad()
        x = torch.linspace(-1, 1, 4 * 3 * 128 * 128, device=DEVICE).sin().view(4, 3, 128, 128).to(HALF)
        decode(ae.post_quant_conv(ae.quant_conv(encode(x)).chunk(2, 1)[0])).float().square().mean().backward()
        return {n: p.grad.float().clone() for n, p in ae.named_parameters() if p.grad is not None}

    try:
        began = time.time()
        encode, decode = torch.compile(ae.encoder), torch.compile(ae.decoder)
        ours, theirs = gradients(ae.encoder, ae.decoder), gradients(encode, decode)
        worst = max(float((ours[n] - theirs[n]).norm() / (ours[n].norm() + 1e-6)) for n in ours if ours[n].ndim > 1)
        say(f"compiled in {time.time() - began:.0f} s, the gradients differ by {worst:.4f}")
        if worst < 0.1:
            ae.encoder.forward, ae.decoder.forward = encode.forward, decode.forward
    except Exception as error:
        say("not compiled:", repr(error)[:400])
    ae.zero_grad()


class Rendered:
    """Pictures that are all there, on the device."""

    def __init__(self, folder, ready):
        import torch

        self.ready = self.count = ready
        self.size = torch.tensor(float(ready), device=DEVICE)
        self.on_device = {n: torch.from_numpy(np.load(folder / f"{n}.npy", mmap_mode="r")[:ready].copy()).to(DEVICE)
                          for n in shapes(1)}  # fmt: skip


def stretch(given, name, sources, workers):
    """Render further data sets; they are ready when `name` is in the scratch folder."""
    words = Path(VOCABULARY).read_text().splitlines()
    for kind in sources:
        pictures = Pictures(given.scratch / kind, words, kind, workers)
        while pictures.ready < pictures.count:
            pictures.update()
            time.sleep(0.05)
    (given.scratch / name).write_text("")


def judge(given):
    """The other process: classifier, CLIP, judge of looks and re-identifier, without graphs, so that they leave most of
    the GPU to the diffusion model."""
    import torch
    import torch.nn.functional as F

    from ldm.modules.text import WordPiece
    from ldm.weights.checkpoint import load_weights, write_weights

    if not given.rendered:
        stretch(given, "judges.ready", ("faces", "faces_val", "doctors", "doctors_val", "toys", "toys_val"), 4)
    while not (given.scratch / "ready.json").is_file():
        time.sleep(0.2)
    time.sleep(0.5)
    ready, until = json.loads((given.scratch / "ready.json").read_text())
    begin = time.time() - STARTED
    ends = [begin + share * (until - begin) for share in (0.4, 0.75, 0.82, 1.0)]
    report, table, size = {}, labels_table(), 256 if CUDA else 8
    names = list(table)

    def whole(kind):
        return Rendered(given.scratch / kind, source_of(kind)[1])

    def right(module, held_out, x):
        truth = held_out.on_device["labels"].long()
        with torch.no_grad():
            out = {n: torch.cat([module(part.to(HALF))[n] for part in x.split(256)]) for n in module.labels}
        return {
            n: round(
                float((out[n].argmax(1) == truth[:, names.index(n)])[truth[:, names.index(n)] >= 0].float().mean()), 4
            )
            for n in module.labels
        }

    ae = load_weights(build_autoencoder(), given.out / "autoencoder").to(DEVICE).eval().requires_grad_(False)

    def attributes(name, experiment, kind, until, lr):
        """Train a classifier of attributes on renders, a quarter of them behind the autoencoder, a quarter blurred."""
        pictures, held_out = whole(kind), whole(f"{kind}_val")
        module = module_of(experiment)
        moments = encode(ae, pictures)[:, 0].clone()

        def losses():
            rows = indices(pictures, size)
            x, _ = views(pictures, rows)
            quarter = size // 4
            with torch.no_grad():
                with torch.autocast(DEVICE, HALF, enabled=CUDA):
                    again = ae.decode(moments[rows[:quarter]].to(HALF)).float().clamp(-1, 1)
                blurred = F.avg_pool2d(F.pad(x[quarter : 2 * quarter], (1, 1, 1, 1), mode="replicate"), 3, 1)
                amount = uniform(quarter, 1, 1, 1)
                blurred = x[quarter : 2 * quarter] * (1 - amount) + blurred * amount
                blurred = blurred + 0.1 * uniform(quarter, 1, 1, 1) * torch.randn_like(blurred)
                x = torch.cat([again, blurred, x[2 * quarter :]])
            truth = pictures.on_device["labels"][rows].long()
            parts = [
                F.cross_entropy(logits.float(), truth[:, names.index(n)], reduction="sum", ignore_index=-100) / size
                for n, logits in module(x.to(HALF)).items()
            ]
            return {"loss": torch.stack(parts).sum()}

        learner = Learner([module], losses, lr, 0.995, betas=(0.9, 0.98), decay=0.05, warmup=50, graphs=False)
        learner.train(name, time.time() - STARTED, until, "cosine")
        learner.use_average()
        x, _ = views(held_out, torch.arange(held_out.ready, device=DEVICE), flip=False)
        with torch.no_grad():
            x_hat = torch.cat([ae.decode(m[:, 0].float()) for m in encode(ae, held_out).split(64)]).clamp(-1, 1)
        report[name] = {
            "steps": learner.steps,
            "renders": right(module, held_out, x),
            "again": right(module, held_out, x_hat),
        }
        say(name, report[name])
        write_weights(given.out / name, named_average(module, learner))

    def contrast(until):
        pictures = Rendered(given.scratch / "train", ready)
        clip = module_of("toyland_clip")
        labels = pictures.on_device["labels"][: pictures.ready].long()
        group = labels[:, names.index("class")] * 16 + labels[:, names.index("background")]
        order = torch.argsort(group * 1.0 + torch.rand(len(group), device=DEVICE) * 0.5)
        sizes = torch.bincount(group, minlength=256)
        starts = torch.cumsum(sizes, 0) - sizes
        batch = size
        alike = torch.zeros((), dtype=torch.bool, device=DEVICE)

        def losses():
            chosen = group[indices(pictures, 1)]
            spread = (torch.arange(batch, device=DEVICE) + uniform(batch)) / batch
            same = order[(starts[chosen] + (spread * sizes[chosen]).long()).clamp(max=len(order) - 1)]
            rows = torch.where(alike, same, indices(pictures, batch))
            x, _ = views(pictures, rows)
            zoomed = 1.0 + 0.1 * (2 * uniform(batch) - 1)
            offset = 0.1 * (2 * uniform(batch, 2) - 1)
            theta = torch.cat([torch.diag_embed(zoomed[:, None].expand(-1, 2)), offset[:, :, None]], 2)
            window = F.affine_grid(theta, [batch, 3, 128, 128], align_corners=False)
            x = F.grid_sample(x, window, padding_mode="reflection", align_corners=False)
            draw = (uniform(batch) * CLIP_DRAWS).long()
            ids = pictures.on_device["clip_ids"][rows, draw].long()
            seen = clip.model.vision_model(pixel_values=x.to(HALF)).pooler_output
            read = clip.model.text_model(input_ids=ids).pooler_output
            images = F.normalize(clip.model.visual_projection(seen).float(), dim=-1)
            texts = F.normalize(clip.model.text_projection(read).float(), dim=-1)
            logits = clip.model.logit_scale.float().clamp(max=math.log(100.0)).exp() * images @ texts.T
            own = torch.arange(batch, device=DEVICE)
            return {"loss": 0.5 * (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own))}

        learner = Learner([clip], losses, 1e-3, 0.995, betas=(0.9, 0.98), decay=0.1, warmup=100, graphs=False)
        learner.train("clip", time.time() - STARTED, until, "cosine", lambda: alike.fill_(learner.steps % 2 == 1))
        write_weights(given.out / "clip", named_average(clip, learner))
        report["clip"] = {"steps": learner.steps}

    def reidentify(until):
        pictures, held_out = whole("toys"), whole("toys_val")
        toys, classes = source_of("toys")[0].toys, 16
        classifier = load_weights(module_of("toyland_classifier"), given.out / "classifier")
        module = module_of("toyland_reidentifier", network=classifier)
        things, batch = toys // classes, 64 if CUDA else 4
        photos = pictures.count // toys

        def losses():
            kind = (uniform(1) * classes).long()
            chosen = torch.rand(things, device=DEVICE).argsort()[:batch] * classes + kind
            first = (uniform(len(chosen)) * photos).long()
            second = (first + 1 + (uniform(len(chosen)) * (photos - 1)).long()) % photos
            x, _ = views(pictures, torch.cat([chosen + toys * first, chosen + toys * second]))
            amount = uniform(len(x), 1, 1, 1)
            x = x * (1 - amount) + amount * F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
            x = x + 0.05 * uniform(len(x), 1, 1, 1) * torch.randn_like(x)
            ours, others = module(x.to(HALF)).chunk(2)
            return {"loss": module._loss(ours, others)}

        learner = Learner([module], losses, 5e-4, 0.995, betas=(0.9, 0.98), decay=0.05, warmup=50, graphs=False)
        learner.train("reidentifier", time.time() - STARTED, until, "cosine")
        learner.use_average()
        few = source_of("toys_val")[0].toys
        x, _ = views(held_out, torch.arange(2 * few, device=DEVICE), flip=False)
        with torch.no_grad():
            e = torch.cat([module(part.to(HALF)) for part in x.split(256)])
        found = [
            (e[kind:few:classes] @ e[few + kind : 2 * few : classes].T).argmax(1)
            == torch.arange(few // classes, device=DEVICE)
            for kind in range(classes)
        ]
        report["reidentifier"] = {"steps": learner.steps, "found": round(float(torch.cat(found).float().mean()), 4)}
        say("reidentifier", report["reidentifier"])
        write_weights(given.out / "reidentifier", named_average(module, learner))

    for name, train in (
        ("classifier", lambda: attributes("classifier", "toyland_classifier", "faces", ends[0], 2e-3)),
        ("clip", lambda: contrast(ends[1])),
        ("looks", lambda: attributes("looks", "toyland_looks", "doctors", ends[2], 2e-3)),
        ("reidentifier", lambda: reidentify(ends[3])),
    ):
        try:
            train()
        except Exception as error:
            say(name, "failed", repr(error)[:600])
    (given.out / "judges.json").write_text(json.dumps(report, indent=2))
    say(report)


def main():
    global DEVICE, CUDA, HALF
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm/toyland"))
    parser.add_argument("--plan", default="130,385,398")
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--ae-batch", type=int, default=32)
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--start", type=Path, help="folder with autoencoder/ and ldm/ to begin with")
    parser.add_argument("--rendered", action="store_true", help="an earlier command has rendered all images")
    parser.add_argument("--keep-autoencoder", action="store_true", help="it is final: wait for the pictures instead")
    parser.add_argument("--ae-lr", type=float, default=1.5e-3)
    parser.add_argument("--compile", action="store_true", help="the autoencoder, if its gradients are the eager ones")
    given = parser.parse_args()
    import torch
    import torch.nn.functional as F

    CUDA = torch.cuda.is_available()
    DEVICE = "cuda" if CUDA else "cpu"
    HALF = torch.bfloat16 if CUDA else torch.float32  # CPUs are for trying it out
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    given.out.mkdir(parents=True, exist_ok=True)
    if given.judge:
        judge(given)
        return
    (given.scratch / "ready.json").unlink(missing_ok=True)
    report = {"argv": sys.argv[1:], "torch": torch.__version__}
    until_ae, until_side, until_ldm = map(float, given.plan.split(","))
    words = Path(VOCABULARY).read_text().splitlines()
    if given.rendered:
        val, pictures = (Rendered(given.scratch / kind, source_of(kind)[1]) for kind in ("val", "train"))
    else:
        val = Pictures(given.scratch / "val", words, "val", max(1, given.workers // 3))
        pictures = Pictures(given.scratch / "train", words, "train", given.workers)
    from ldm.images import psnr
    from ldm.models import toyland
    from ldm.sampling import Sampler
    from ldm.weights.checkpoint import load_weights, write_weights

    # ------------------------------------------------ autoencoder
    ae = build_autoencoder()
    if not given.rendered:
        pictures.wait(4 * CHUNK * max(1, given.workers))
        val.wait(VAL)
    say("first pictures", pictures.ready)

    def ae_losses():
        x, masks = views(pictures, indices(pictures, given.ae_batch))
        weight = 1.0 + masks[:, :1] + 4.0 * masks[:, 1:]
        weight = weight / weight.mean()
        posterior = ae.encode(x.to(HALF))
        z = posterior.mean + posterior.std * torch.randn_like(posterior.mean)
        off = ae.decode(z.to(HALF)).float() - x
        l1 = (weight * off.abs()).mean()
        dx, dy = off[..., 1:] - off[..., :-1], off[..., 1:, :] - off[..., :-1, :]
        edges = (weight[..., 1:] * dx.abs()).mean() + (weight[..., 1:, :] * dy.abs()).mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        few = max(1, len(x) // 4)  # latents of half the size are a picture of half the size: no fine grain of their own
        small = ae.decode(F.avg_pool2d(z[:few], 2).to(HALF)).float()
        scale = (small - F.avg_pool2d(x[:few], 2)).abs().mean()
        mse = (weight * off.square()).mean()
        loss = l1 + 2.0 * mse + 0.5 * edges + 3e-4 * kl + 0.25 * scale
        return {"loss": loss, "l1": l1, "mse": mse, "kl": kl, "scale": scale}

    if given.start:
        load_weights(ae, given.start / "autoencoder").to(DEVICE)
    if given.keep_autoencoder:  # until the pictures are rendered
        while not given.rendered and time.time() - STARTED < until_ae and pictures.ready < pictures.count:
            pictures.update()
            time.sleep(0.2)
        report["ae_steps"] = 0
    else:
        learner = Learner([ae], ae_losses, given.ae_lr, 0.998, decay=0.0, warmup=100)
        if given.compile:
            compile_autoencoder(ae)
        learner.train(
            "autoencoder",
            time.time() - STARTED,
            until_ae,
            "cosine",
            lambda: pictures.update() if learner.steps % 20 == 0 else None,
        )
        learner.use_average()
        ae.float()
        ae_average = {n[2:]: a for n, a in zip(learner.names, learner.average)}
        for n, p in ae.named_parameters():
            p.data = ae_average[n].clone()
        report["ae_steps"] = learner.steps
        del learner
    ae.requires_grad_(False).eval()
    if not given.rendered:
        pictures.stop()
    report["pictures"] = pictures.ready

    val_moments = encode(ae, val)
    val_x, val_masks = views(val, torch.arange(VAL, device=DEVICE), flip=False)
    with torch.no_grad():
        val_hat = torch.cat([ae.decode(m[:, 0].float()) for m in val_moments.split(64)])
    report["psnr"] = float(psnr(val_hat, val_x).mean())
    sheet = torch.cat([val_x[:12], val_hat[:12], val_x[12:24], val_hat[12:24]])
    save_sheet(given.out / "reconstructions.png", sheet, 12)
    write_weights(given.out / "autoencoder", ae.state_dict())
    (given.scratch / "ready.json").write_text(json.dumps([pictures.ready, until_side]))
    say("autoencoder", report)
    moments = encode(ae, pictures)
    mean, std = moments[:20000, 0].float(), moments[:20000, 1].float()
    scale = float(1.0 / (mean.var() + std.square().mean()).sqrt())
    report["scale_factor"] = scale
    say("encoded", moments.shape, "scale", scale, "channel std", mean.std(dim=(0, 2, 3)).tolist())

    # ------------------------------------------------ diffusion model
    ldm = toyland(VOCABULARY, first_stage=ae)
    ldm.scale_factor = scale
    unet, text = ldm.unet, ldm.text_encoder
    if given.start and (given.start / "ldm").is_dir():  # its first stage is an earlier one
        kept = {n: v.clone() for n, v in ae.state_dict().items()}
        load_weights(ldm, given.start / "ldm")
        ae.load_state_dict(kept)
    alpha_bar = ldm.alpha_bar.to(DEVICE)
    empty = torch.tensor(pieces("", {w: i for i, w in enumerate(words)}), device=DEVICE)
    b = given.batch

    def denoise(rows, source, table, draw, drop, wrong=False):
        mean, std = table[rows].float().unbind(1)
        z_0 = scale * (mean + std * torch.randn_like(mean))
        ids = source.on_device["ids"][rows.roll(1) if wrong else rows, draw].long()
        ids = torch.where((uniform(len(rows)) < drop)[:, None], empty, ids)
        t = (uniform(len(rows)) * 1000).long()
        eps = torch.randn_like(z_0)
        a = alpha_bar[t][:, None, None, None]
        z_t = a.sqrt() * z_0 + (1 - a).sqrt() * eps
        c = text.encode(text.embed(ids))
        return (eps - unet(z_t.to(HALF), t, c).float()).square(), t

    def ldm_losses():
        rows = indices(pictures, b)
        draw = (uniform(b) * DRAWS).long()
        square, t = denoise(rows, pictures, moments, draw, 0.1)
        masks = unpack(pictures.on_device["masks"][rows])
        where = F.avg_pool2d(masks, 4)
        weight = 1.0 + where[:, :1] + 2.0 * where[:, 1:]
        weight = weight / weight.mean()
        snr = alpha_bar[t] / (1 - alpha_bar[t])
        per_sample = (weight * square).mean(dim=(1, 2, 3))
        return {"loss": (snr.clamp(max=2.0) / snr * per_sample).mean(), "mse": square.mean()}

    learner = Learner([unet, text], ldm_losses, 1e-3, 0.9995, decay=0.01, warmup=400)
    begin = time.time() - STARTED
    learner.train("diffusion", begin, until_ldm, "linear", cooldown=0.35)
    report |= {"ldm_steps": learner.steps, "ldm_seconds": time.time() - STARTED - begin, "batch": b}
    weights = {n: a for n, a in zip(learner.names, learner.average)}
    for i, module in enumerate((unet, text)):
        module.float()
        for n, p in module.named_parameters():
            if p.requires_grad:
                p.data = weights[f"{i}.{n}"].clone()
    write_weights(given.out / "ldm", ldm.state_dict())
    (given.out / "report.json").write_text(json.dumps(report, indent=2))
    say("weights written")
    unet.to(HALF), text.to(HALF)
    try:
        rows = torch.arange(VAL, device=DEVICE)
        with torch.no_grad():
            right = denoise(rows, val, val_moments, rows * 0, 0.0)[0].mean()
            other = denoise(rows, val, val_moments, rows * 0, 0.0, wrong=True)[0].mean()
        report |= {"val_loss": float(right), "text_gap": float(other - right)}
        ldm.to(DEVICE).eval().requires_grad_(False)
        from launch.scoring.prompts import held_out_prompts

        prompts = [each.text for each in held_out_prompts(64 if CUDA else 2, 7)]
        c = text(prompts)
        z = ldm.noise(0, range(len(prompts)))
        x = ldm.sample(c, z, Sampler(40 if CUDA else 2), 4.0)
        save_sheet(given.out / "samples.png", x, 8)
    except Exception as error:
        say("samples failed", repr(error)[:800])
    report["seconds"] = time.time() - STARTED
    (given.out / "report.json").write_text(json.dumps(report, indent=2))
    say(report)


def named_average(module, learner):
    average = {n[2:]: a for n, a in zip(learner.names, learner.average)}
    return {n: average.get(n, v) for n, v in module.state_dict().items()}


def save_sheet(path, x, columns):
    from PIL import Image

    images = ((x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    rows = [np.concatenate(list(images[i : i + columns]), 1) for i in range(0, len(images), columns)]
    rows = [np.pad(r, ((0, 0), (0, rows[0].shape[1] - r.shape[1]), (0, 0))) for r in rows]
    Image.fromarray(np.concatenate(rows)).save(path)


if __name__ == "__main__":
    main()
