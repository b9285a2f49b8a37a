"""Whole training steps on a GPU: ours beside PyTorch's, eager and compiled, in one table of Markdown.

    python3 bench/whole_steps.py build/gpu_check/bin/gpu_check [--networks r50 mbf] [--ways ours eager]

A step takes pixels in host memory through the network, a Partial FC head (CosFace, a tenth of the identities) and the
backward pass, clips the gradient, and updates both by SGD with momentum. PyTorch's is as its users write it: plain
modules (plain_networks.py), channels_last for convolutions, autocast, a GradScaler in float16. Each measurement has a
process of its own, and the ways take turns line by line. "of peak" is ours: three times the multiply-adds of the
forward pass, against the bfloat16 GEMMs that gpu_check measures in the same run. GB are the most that a process took of
the card's memory. Compiling takes what the first step takes longer than a later one. Exit status 77: no GPU.
"""

import argparse
import json
import math
import subprocess
import sys
import time

try:
    import torch
except ImportError:
    sys.exit(f"whole_steps.py: {sys.executable} has no torch")
import torch.nn.functional as F
from plain_networks import MULTIPLY_ADDS, NETWORKS, memory_format_of
from torch import nn

WAYS = ["ours", "eager", "compiled"]
RATE, SCALE, MARGIN, DIM = 0.1, 64, 0.4, 512
WARM_UP, LEAST, BATCHES = 5, 2, 4
LIMIT = 400  # seconds for a measurement; compiling takes most of them
ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"


class PartialFcHead:
    """Class centres with their momentum. A step works on copies of the rows that it samples."""

    def __init__(self, identities):
        self.centres = torch.randn(identities, DIM, device=DEVICE) * 0.01
        self.momentum = torch.zeros_like(self.centres)

    def sample(self, labels):
        """Draws the rows of all labels and of random other classes -> places of the labels among the rows."""
        identities = len(self.centres)
        order = torch.rand(identities, device=DEVICE).index_fill_(0, labels, 2.0)
        self.rows = order.topk(max(int(RATE * identities), len(labels))).indices.sort().values
        self.weight = nn.Parameter(self.centres[self.rows])
        return torch.searchsorted(self.rows, labels)

    def loss(self, embeddings, targets):
        cosines = F.linear(F.normalize(embeddings), F.normalize(self.weight)).float().clamp(-1, 1)
        cosines[torch.arange(len(targets), device=DEVICE), targets] -= MARGIN
        return F.cross_entropy(SCALE * cosines, targets)

    def lend(self, optimizer):
        optimizer.param_groups[-1]["params"] = [self.weight]
        optimizer.state[self.weight] = {"momentum_buffer": self.momentum[self.rows]}

    def take_back(self, optimizer):
        self.centres[self.rows] = self.weight.detach()
        self.momentum[self.rows] = optimizer.state.pop(self.weight)["momentum_buffer"]


class PlainTraining:
    def __init__(self, way, network, batch, precision, identities):
        torch.manual_seed(1)
        torch.backends.cudnn.benchmark = True
        self.memory_format = memory_format_of(network)
        backbone = NETWORKS[network]().to(DEVICE, memory_format=self.memory_format)
        self.backbone = torch.compile(backbone) if way == "compiled" else backbone
        self.parameters = [p for p in backbone.parameters() if p.requires_grad]
        self.head = PartialFcHead(identities)
        self.optimizer = torch.optim.SGD([{"params": self.parameters}, {"params": [nn.Parameter(torch.empty(0))]}],
                                         lr=0.02, momentum=0.9, weight_decay=5e-4)
        self.precision = getattr(torch, precision)
        self.scaler = torch.amp.GradScaler(DEVICE, enabled=precision == "float16")
        self.batches = [self.random_batch(batch, identities) for _ in range(BATCHES)]
        self.steps = 0

    @staticmethod
    def random_batch(batch, identities):
        pixels = torch.randint(0, 256, (batch, 112, 112, 3), dtype=torch.uint8)
        labels = torch.randint(0, identities, (batch,))
        return (pixels.pin_memory(), labels.pin_memory()) if ON_GPU else (pixels, labels)

    def step(self):
        pixels, labels = (x.to(DEVICE, non_blocking=True) for x in self.batches[self.steps % BATCHES])
        self.steps += 1
        images = pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous(memory_format=self.memory_format)
        targets = self.head.sample(labels)
        self.head.lend(self.optimizer)
        with torch.autocast(DEVICE, self.precision, enabled=self.precision != torch.float32):
            loss = self.head.loss(self.backbone(images), targets)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.head.take_back(self.optimizer)
        return loss.detach()


def wait():
    if ON_GPU:
        torch.cuda.synchronize()


def timed(training, seconds):
    begin = time.perf_counter()
    training.step()
    wait()
    first = time.perf_counter() - begin
    for _ in range(1, WARM_UP):
        training.step()
    wait()
    begin, steps = time.perf_counter(), 0
    while steps < LEAST or time.perf_counter() - begin < seconds:
        loss = training.step()
        steps += 1
    wait()
    a_step = (time.perf_counter() - begin) / steps
    if not math.isfinite(loss):
        sys.exit("whole_steps.py: the loss is not finite")
    return {"seconds": a_step, "bytes": torch.cuda.max_memory_reserved() if ON_GPU else 0, "loss": float(loss),
            "compile_seconds": first - a_step}


def measure(way, network, batch, precision, identities, seconds):
    """Prints what `gpu_check --training` prints, and the seconds that compiling took."""
    try:
        training = PlainTraining(way, network, int(batch), precision, int(identities))
        print(json.dumps(timed(training, float(seconds))))
    except torch.OutOfMemoryError:
        print("does not fit")


def measure_apart(way, network, batch, precision, options):
    """-> what it printed: a dict, or words in place of figures."""
    size = [network, str(batch), precision, str(options.identities)]
    if way == "ours":
        command = [options.gpu_check, "--training", *size, str(RATE), str(options.seconds)]
    else:
        command = [sys.executable, __file__, "--measure", way, *size, str(options.seconds)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"over {LIMIT} s"
    if done.returncode:
        return "failed"
    line = done.stdout.splitlines()[-1]
    return json.loads(line) if line.startswith("{") else line


def speed_and_memory(batch, found):
    if isinstance(found, str):
        return [found, ""]
    return [f"{batch / found['seconds']:,.0f}", f"{found['bytes'] / 1e9:.1f}"]


def times_as_fast(ours, others):
    """As the fastest of the others."""
    measured = [each["seconds"] for each in others if isinstance(each, dict)]
    return f"{min(measured) / ours['seconds']:.2f}" if measured and isinstance(ours, dict) else "–"


HEADER = ["network", "batch", "precision", "ours, images/s", "GB", "ms", "of peak", "PyTorch eager", "GB", "compiled",
          "GB", "compiling, s", "ours / eager", "ours / best"]


def row(network, batch, precision, found, flops_a_second):
    ours, eager, compiled = (found[way] for way in WAYS)
    milliseconds = share = compiling = ""
    if isinstance(ours, dict):
        milliseconds = f"{1e3 * ours['seconds']:.1f}"
        share = f"{600 * MULTIPLY_ADDS[network] * batch / ours['seconds'] / flops_a_second:.1f} %"
    if isinstance(compiled, dict):
        compiling = f"{compiled['compile_seconds']:.0f}"
    return [network, str(batch), precision, *speed_and_memory(batch, ours), milliseconds, share,
            *speed_and_memory(batch, eager), *speed_and_memory(batch, compiled), compiling,
            times_as_fast(ours, [eager]), times_as_fast(ours, [eager, compiled])]


def print_row(cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gpu_check", help="the program that scripts/gpu_check.sh builds")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["r50", "r100", "mbf", "vit_b"])
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 256])
    parser.add_argument("--precisions", nargs="+", choices=["float32", "bfloat16", "float16"],
                        default=["bfloat16", "float16"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--identities", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=2, help="of a measurement, after five steps")
    return parser.parse_args(arguments)


def main(arguments):
    if arguments[:1] == ["--measure"]:
        return measure(*arguments[1:])
    options = parse(arguments)
    asked = subprocess.run([options.gpu_check, "--ceilings"], stdout=subprocess.PIPE, text=True)
    if asked.returncode:
        print(asked.stdout, end="")
        sys.exit(asked.returncode)
    ceilings = json.loads(asked.stdout)
    print(f"{ceilings['card']}, PyTorch {torch.__version__}, {ceilings['flops_a_second'] / 1e12:.0f} TFLOP/s in "
          f"bfloat16 GEMMs; the head has {options.identities:,} identities, r = {RATE}\n")
    print_row(HEADER)
    print_row(["---"] * len(HEADER))
    failed = False
    for network in options.networks:
        for batch in options.batches:
            for precision in options.precisions:
                found = dict.fromkeys(WAYS, "–")
                for way in options.ways:
                    found[way] = measure_apart(way, network, batch, precision, options)
                print_row(row(network, batch, precision, found, ceilings["flops_a_second"]))
                failed = failed or "failed" in found.values()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
