#!/usr/bin/env python3
"""What bench/whole_steps.py measures PyTorch by, on a CPU and in small: whole_steps_test.py BENCH THEOREM

The program that measures our steps is replaced by a few lines of shell, for it needs a GPU.
"""
import contextlib
import io
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile

bench, theorem = sys.argv[1:]
sys.path.insert(0, bench)
try:
    import torch
except ImportError:
    print("not run: no torch")
    sys.exit(77)
import plain_networks  # noqa: E402
import whole_steps  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

MILLIONS_OF_PARAMETERS = {"tiny": 3.61, "r18": 24.03, "r50": 43.59, "r100": 65.16, "mbf": 2.06, "vit_t": 19.14,
                          "vit_b": 113.83}
OURS = """#!/bin/sh
case $1 in
  --ceilings) echo '{"card": "no card", "bytes_a_second": 1e12, "flops_a_second": 1e15}' ;;
  --training) [ $3 = 2 ] && echo 'does not fit' || echo '{"seconds": 0.001, "bytes": 2500000000, "loss": 35}' ;;
esac
"""


def expect(holds, otherwise):
    if not holds:
        sys.exit(str(otherwise))


def plain_networks_are_as_large_as_ours():
    expect(plain_networks.NETWORKS.keys() == plain_networks.MULTIPLY_ADDS.keys(), "another list")
    for name, make in plain_networks.NETWORKS.items():
        # The counter knows attention by its parts.
        with FakeTensorMode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            network = make().eval()
            shape = network(torch.empty(1, 3, 112, 112)).shape
        parameters = sum(p.numel() for p in network.parameters())
        found = f"{name}: {parameters:,} parameters, {counter.get_total_flops():,} operations"
        print(found)
        expect(shape == (1, 512), found)
        expect(abs(parameters / 1e6 - MILLIONS_OF_PARAMETERS[name]) < 0.006, found)
        expect(abs(counter.get_total_flops() / 2 / plain_networks.MULTIPLY_ADDS[name] - 1) < 0.005, found)


def a_step_updates_the_rows_that_it_samples():
    for precision in "float32", "float16":
        training = whole_steps.PlainTraining("eager", "tiny", 4, precision, 200)
        before = training.head.centres.clone()
        for _ in range(20):  # in float16 the first are skipped, until the scale of the loss is small enough
            training.step()
            changed = (training.head.centres != before).any(1).nonzero().flatten()
            if len(changed):
                break
        expect(changed.equal(training.head.rows) and len(changed) == 20, (changed, training.head.rows))
        expect(training.head.momentum.any(1).nonzero().flatten().equal(changed), "another row's momentum changed")


def steps_lower_the_loss():
    training = whole_steps.PlainTraining("eager", "tiny", 8, "float32", 50)
    losses = [training.step().item() for _ in range(6 * whole_steps.BATCHES)]
    expect(losses[-1] < 0.8 * losses[0], losses)


def measured(*arguments):
    command = [sys.executable, f"{bench}/whole_steps.py", "--measure", *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def a_measurement_is_one_line():
    """In eager; compiling takes a minute here."""
    for arguments in ("tiny", "4", "float32"), ("vit_t", "2", "bfloat16"):
        found = measured("eager", *arguments, "500", "0")
        print(arguments, found)
        expect(found["seconds"] > 0 and math.isfinite(found["loss"]), found)


def a_line_has_all_ways_beside_each_other():
    with tempfile.TemporaryDirectory() as folder:
        ours = pathlib.Path(folder, "gpu_check")
        ours.write_text(OURS)
        ours.chmod(0o755)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            whole_steps.main([str(ours), "--networks", "tiny", "--batches", "2", "4", "--precisions", "float32",
                              "--ways", "ours", "eager", "--identities", "500", "--seconds", "0"])
    print(printed.getvalue())
    head, rule, none, some = ([cell.strip() for cell in line.strip("| \n").split("|")]
                              for line in printed.getvalue().splitlines()[2:])
    expect(len(head) == len(rule) == len(none) == len(some) == len(whole_steps.HEADER), "columns are missing")
    expect(none[:5] == ["tiny", "2", "float32", "does not fit", ""] and none[12:] == ["–", "–"], none)
    expect(some[:7] == ["tiny", "4", "float32", "4,000", "2.5", "1.0", "0.3 %"], some)
    eager = float(some[7].replace(",", ""))
    expect(eager > 0 and abs(float(some[12]) * eager / 4000 - 1) < 0.1 and some[13] == some[12], some)


globals()[re.sub(r"(?<!^)([A-Z])", r"_\1", theorem).lower()]()
