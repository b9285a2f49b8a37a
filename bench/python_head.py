"""Steps of the head from Python, compared with the head in C++ and with InsightFace's PartialFC_V2.

    PYTHONPATH=build/dev/python python3 bench/python_head.py build/dev/bin/head_bench [--reference FOLDER]

FOLDER has InsightFace's partial_fc_v2.py and losses.py (its recognition/arcface_torch). Every measurement has a process
of its own, and the ways take turns. A step gives the loss, the gradient of the embeddings, and the updated centres.
Printed are times and memory of the cases, and what the Python layer costs: a step of a head with nothing to do, less
what the C++ head needs for it, and less what PyTorch's own loop (module, backward, optimizer) takes without a head.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

DIM = 512
CASES = [(100_000, 0.1), (100_000, 1.0), (1_000_000, 0.1), (1_000_000, 1.0)]
BATCH = 128
IDLE = (1_000, 0.0)  # little arithmetic: what is left is the layer
IDLE_BATCH = 8


def make_step(way, identities, rate, reference):
    """A function of (embeddings, labels) that takes one training step."""
    import torch

    if way == "loop":

        class NoHead(torch.nn.Module):
            def forward(self, embeddings, labels):
                return embeddings.sum()

        class NoStep(torch.optim.Optimizer):
            def step(self, closure=None):
                pass

        head, optimizer = NoHead(), NoStep([torch.nn.Parameter(torch.zeros(1))], {})
    elif way == "python":
        import partial_fc

        head = partial_fc.PartialFC(DIM, identities, margin=partial_fc.CosFace(0.4), sample_rate=rate)
        optimizer = head.optimizer(lr=0.1, momentum=0.9, weight_decay=5e-4)
    else:
        if way == "reference":
            import torch.distributed as dist

            sys.path.insert(0, reference)
            torch.Tensor.cuda = lambda self, *_, **__: self  # the class is written for GPUs
            dist.init_process_group("gloo", init_method="tcp://127.0.0.1:29611", rank=0, world_size=1)
            from losses import CombinedMarginLoss
            from partial_fc_v2 import PartialFC_V2

            margin = CombinedMarginLoss(64, 1.0, 0.0, 0.4)
        else:
            import partial_fc
            from partial_fc.insightface import PartialFC_V2

            margin = partial_fc.CosFace(0.4)
        head = PartialFC_V2(margin, DIM, identities, rate)
        optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def step(embeddings, labels):
        head(embeddings, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(way, identities, rate, batch, steps, reference):
    """Prints {"seconds", "bytes"}: the median step, and the most memory minus that of the process without a head."""
    import torch

    torch.manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(batch, DIM))
    embeddings @ embeddings.t()
    without_head = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = make_step(way, identities, rate, reference)
    seconds = []
    for number in range(steps + 1):
        labels = torch.randint(identities, (batch,), generator=torch.Generator().manual_seed(number))
        x = embeddings.clone().requires_grad_()
        begin = time.perf_counter()
        step(x, labels)
        if number:
            seconds.append(time.perf_counter() - begin)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - without_head
    print(json.dumps({"seconds": statistics.median(seconds), "bytes": 1024 * kilobytes}))


def measure_apart(way, identities, rate, batch, steps, options, threads=os.cpu_count()):
    if way == "c++":
        command = [options.head_bench, "measure", "--way", "ours"]
        command += ["--identities", str(identities), "--rate", str(rate), "--batch", str(batch), "--steps", str(steps)]
    else:
        command = [sys.executable, __file__, options.head_bench, "--reference", options.reference or ""]
        command += ["--measure", way, str(identities), str(rate), str(batch), str(steps)]
    # Waiting threads spin as long as pfc's do; on a busy machine, PyTorch's longer spinning would be what is measured.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "10000"}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def rounds_of(ways, identities, rate, batch, steps, options, **more):
    """{way: its measurements}, one a round."""
    found = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way in ways:
            found[way].append(measure_apart(way, identities, rate, batch, steps, options, **more))
    return found


def median_ratio(found, way, by):
    return statistics.median(a["seconds"] / b["seconds"] for a, b in zip(found[way], found[by]))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("head_bench", help="the C++ program head_bench")
    arguments.add_argument("--reference", help="the folder of InsightFace's partial_fc_v2.py")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=5)
    arguments.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.measure:
        way, identities, rate, batch, steps = options.measure
        measure(way, int(identities), float(rate), int(batch), int(steps), options.reference)
        return

    ways = ["python", "c++", "v2"] + (["reference"] if options.reference else [])
    print("| identities | r | way | s/step | times as long as C++ | memory, GB |\n|---|---|---|---|---|---|")
    for identities, rate in CASES:
        found = rounds_of(ways, identities, rate, BATCH, options.steps, options)
        for way in ways:
            seconds = statistics.median(each["seconds"] for each in found[way])
            memory = statistics.median(each["bytes"] for each in found[way]) / 1e9
            ratio = median_ratio(found, way, "c++")
            print(f"| {identities:,} | {rate} | {way} | {seconds:.4f} | {ratio:.2f} | {memory:.2f} |", flush=True)
    idle = rounds_of(["python", "c++", "loop"], *IDLE, IDLE_BATCH, 500, options, threads=1)
    python, head, loop = (1e3 * statistics.median(each["seconds"] for each in idle[way]) for way in idle)
    print(f"a step with nothing to do: {python:.3f} ms from Python, {head:.3f} in C++, {loop:.3f} of PyTorch's loop")
    print(f"the Python layer: {python - head - loop:.3f} ms a step")


if __name__ == "__main__":
    main()
