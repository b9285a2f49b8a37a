"""What programs do on a simulated GPU is what they do on the CPU: programs.py LIBRARIES PFC WORK THEOREM"""
import array
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

libraries, pfc, work, theorem = sys.argv[1:]
work = pathlib.Path(work)
EXACT = ["train.precision=float32", "head.gemm_type=float32"]
COSINE = r"-?\d\.\d{4}"


def run(*command, ranks=1, gpus=1, seen=(), fails=False, **options):
    """-> what it prints; ends the test where it fails, or does not and should. `seen`: the GPU that each rank sees, as
    launchers show it that give a rank its own; otherwise all see all."""
    environment = dict(os.environ, LD_LIBRARY_PATH=libraries, OMP_NUM_THREADS="1", SIMULATED_GPUS=str(gpus),
                       OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                       **{name: str(value) for name, value in options.items()})
    if ranks > 1:
        each = [["-np", "1", "-x", f"CUDA_VISIBLE_DEVICES={gpu}", *command, ":"] for gpu in seen]
        command = ["mpirun", "--oversubscribe", *(sum(each, [])[:-1] or ["-np", ranks, *command])]
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, cwd=work)
    if (done.returncode != 0) != fails:
        sys.exit(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def train(name, *settings, resume=False, **options):
    """Six steps of 16 images, at a rate that does not blow rounding up -> the folder that they leave."""
    output = work / name
    settings = [f"data.train={work}/faces/train.rec", f"output={output}", "model.network=tiny", "head.sample_rate=0.5",
                "schedule.lr=1e-3", "train.batch_size=16", "train.steps=6", "train.epochs=0", "eval.every=3",
                f"eval.sets={work}/faces/unseen.bin", "log.every=1", "train.device=cuda", *settings]
    (work / f"{name}.toml").write_text("")
    words = [word for setting in settings for word in ("--set", setting)]
    said = run(pfc, "train", f"{name}.toml", *words, *(["--resume"] if resume else []), **options)
    expect(("simulated GPU" in said) == ("train.device=cpu" not in settings), said)
    return output


def losses(output):
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def numbers(npy):
    content = npy.read_bytes()
    header = 10 + int.from_bytes(content[8:10], "little")  # of format 1.0
    return array.array("f", content[header:])


def expect(holds, otherwise):
    if not holds:
        sys.exit(str(otherwise))


def expect_close(found, want, relative=1e-4):
    found, want = losses(found), losses(want)
    worst = max(abs(a / b - 1) for a, b in zip(found, want))
    print(f"largest difference of a loss {worst:.1e}, allowed {relative:.0e}")
    expect(len(found) == len(want) == 6 and worst <= relative, f"found {found}\nwant  {want}")


def trains_as_the_cpu_does():
    for way, relative in ("optimizer.kind=sgd", 1e-4), ("head.update=dense_equivalent", 1e-4), \
                         ("train.micro_batches=2", 1e-4), ("optimizer.kind=adamw", 1e-3):
        want = train("cpu", way, "train.device=cpu")
        for memory in "device", "host":
            print(way, memory)
            expect_close(train(f"gpu_{memory}", *EXACT, way, f"head.center_memory={memory}"), want, relative)
            shutil.rmtree(work / f"gpu_{memory}")
        shutil.rmtree(want)


def waits_for_what_it_needs():
    """Whenever streams get on (simulated_gpu.h)."""
    want = train("cpu", "train.micro_batches=2", "train.device=cpu")
    for late in "all", "default", "random":
        for memory in "device", "host":
            print(late, memory)
            way = [*EXACT, "train.micro_batches=2", f"head.center_memory={memory}"]
            expect_close(train(f"{late}_{memory}", *way, SIMULATED_GPU_LATE=late), want)
            way.append("model.sync_bn=true")
            expect_close(train(f"{late}_{memory}_two", *way, ranks=2, gpus=2, SIMULATED_GPU_LATE=late), want)
    model = work / "cpu/last.safetensors"
    for late in "", "all", "random":
        run(pfc, "embed", model, "faces", "-o", f"embedded_{late}.npy", "--device", "cuda", SIMULATED_GPU_LATE=late)
        expect((work / f"embedded_{late}.npy").read_bytes() == (work / "embedded_.npy").read_bytes(), late)


def ranks_train_as_one_does():
    same = [*EXACT, "model.sync_bn=true"]
    want = train("one", *same)
    expect_close(train("two", *same, ranks=2, gpus=2), want)
    expect_close(train("two_host", *same, "head.center_memory=host", ranks=2, gpus=2), want)
    expect_close(train("each_its_own", *same, ranks=2, seen=(5, 3)), want)
    bench = [pfc, "bench", "--identities", 100, "--rates", 1, "--steps", 1, "--device"]
    said = run(*bench, "cuda", ranks=2, seen=("", 3), fails=True)
    expect("1 of 2 ranks found none" in said, said)
    said = run(*bench, "auto", ranks=2, seen=("", 3))
    expect("simulated GPU" not in said, said)


def ranks_of_one_gpu_train_as_one_does():
    same = [*EXACT, "model.sync_bn=true", "checkpoint.every=2"]
    want = train("one", *same)
    expect_close(train("two", *same, ranks=2), want)
    four = train("four", *same, ranks=4)
    expect_close(four, want)
    last = four / "checkpoints/step-000000006"
    shutil.rmtree(last)
    expect_close(train("four", *same, resume=True, ranks=2), want)
    expect((last / "centers-00002-of-00002.safetensors").exists(), list(last.iterdir()))
    bench = [pfc, "bench", "--identities", 100, "--rates", 1, "--steps", 1]
    for ranks, options, shared in (2, dict(seen=(3, 3)), "1 GPU"), (3, dict(gpus=2), "2 GPUs"):
        said = run(*bench, "--batch", 12, ranks=ranks, **options)
        expect(f"note: {ranks} ranks share {shared} and" in said and "simulated GPU" in said, said)


def ranks_of_one_gpu_wait_for_what_they_need():
    same = [*EXACT, "model.sync_bn=true", "train.micro_batches=2"]
    want = train("one", *same)
    for late in "all", "default", "random":
        print(late)
        expect_close(train(late, *same, ranks=2, SIMULATED_GPU_LATE=late), want)


def half_precision_trains_too():
    want = train("float32", *EXACT)
    expect_close(train("bfloat16"), want, 0.05)
    half = train("float16", SIMULATED_GPU_MAJOR=7)
    expect(all(loss == loss and loss < 100 for loss in losses(half)), losses(half))


def goes_on_bit_for_bit():
    for memory in "device", "host":
        way = [*EXACT, f"head.center_memory={memory}", "checkpoint.every=2", "head.sample_rate=[[0, 0.5], [5, 0.8]]"]
        whole = train(f"whole_{memory}", *way)
        want = (whole / "checkpoints/step-000000006")
        files = {file.name: file.read_bytes() for file in want.iterdir() if file.suffix == ".safetensors"}
        shutil.rmtree(want)
        train(f"whole_{memory}", *way, resume=True)
        for name, content in files.items():
            expect((want / name).read_bytes() == content, f"{memory}: {name} is another")


def starts_from_what_another_run_left():
    first = train("first", *EXACT) / "checkpoints/step-000000006"
    for memory in "device", "host":
        way = [f"init.from={first}", "init.class_map=same", "init.new_centers=mean"]
        expect_close(train(f"next_{memory}", *EXACT, *way, f"head.center_memory={memory}"),
                     train(f"next_{memory}_cpu", *way, "train.device=cpu"))


def embeds_as_the_cpu_does():
    model = train("embedder", "train.device=cpu") / "last.safetensors"
    said = {}
    for device in "cuda", "cpu":
        said[device] = run(pfc, "eval", "verification", model, "faces/unseen.bin", "--device", device).splitlines()
        run(pfc, "data", "clean", model, "faces", "-o", f"clean_{device}", "--device", device)
        run(pfc, "embed", model, "faces", "-o", f"{device}.npy", "--device", device)
    run(pfc, "embed", model, "faces", "-o", "ranks.npy", "--device", "cuda", "--batch", "10", ranks=2, gpus=2)
    table = lambda lines: [line for line in lines if line.startswith("unseen ")]
    expect(table(said["cuda"]) == table(said["cpu"]) != [], said)
    for rows in "cuda.npy", "ranks.npy":
        found, want = numbers(work / rows), numbers(work / "cpu.npy")
        worst = max(abs(a - b) for a, b in zip(found, want))
        print(f"largest difference of an embedding's number {worst:.1e} of {max(map(abs, want)):.1f}, allowed 1e-3")
        expect(len(found) == len(want) == 64 * 512 and worst <= 1e-3, worst)
    for file in (work / "clean_cpu").iterdir():
        want, found = file.read_text(), (work / "clean_cuda" / file.name).read_text()
        without_cosines = [re.sub(COSINE, "", text) for text in (want, found)]
        expect(without_cosines[0] == without_cosines[1] != "", file.name)
        for a, b in zip(re.findall(COSINE, want), re.findall(COSINE, found)):
            expect(abs(float(a) - float(b)) < 1.01e-4, f"{file.name}: {a}, {b}")  # of four digits, the last


shutil.rmtree(work, ignore_errors=True)
work.mkdir()
run(pfc, "data", "synth", "faces", "--identities", "16", "--images", "4", "--pairs", "40", "--seed", "4")
globals()[re.sub(r"(?<!^)([A-Z])", r"_\1", theorem).lower()]()
shutil.rmtree(work)
