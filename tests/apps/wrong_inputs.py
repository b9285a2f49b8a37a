#!/usr/bin/env python3
"""Gives `pfc` what people really have: wrong files, odd files, odd places to write to.

    wrong_inputs.py PFC [WORD ...]      with words: only the cases whose title has one of them

Each case prints its command and what was said. A case is refused (status 1 or 2, and one sentence that
begins with "pfc: " and names what is wrong) or it is right (status 0, and the named result).
Status 1 where a case went otherwise. Needs the packages torch, numpy, pillow and onnx.
"""
import argparse
import collections
import io
import os
import pickle
import re
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

try:
    import numpy
    import onnx
    import torch
    from onnx import TensorProto, helper
    from PIL import Image
except ImportError as missing:
    print(f"not run: {missing}")
    sys.exit(77)

PFC = Path(sys.argv[1]).resolve()
WORDS = sys.argv[2:]
failures = []
count = 0


def pfc(command, shell_prefix=""):
    environment = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
    line = f'{shell_prefix}"{PFC}" {command}'
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, errors="replace",
                         env=environment, timeout=300)
    return ran.returncode, ran.stdout, ran.stderr


def case(title, command, refused=None, right=None, also=None, shell_prefix=""):
    """`refused` and `right` are patterns of what is said; `also` is asked afterwards."""
    global count
    if WORDS and not any(word in title for word in WORDS):
        return
    count += 1
    status, out, err = pfc(command, shell_prefix)
    said = (out + err).strip()
    wrong = []
    if refused is not None:
        last = err.strip().splitlines()[-1] if err.strip() else ""
        if status not in (1, 2):
            wrong.append(f"status {status}, want 1 or 2")
        if not last.startswith("pfc: "):
            wrong.append("its last line is not a sentence of pfc's")
        if not re.search(refused, last, re.I):
            wrong.append(f"the sentence lacks /{refused}/")
    else:
        if status != 0:
            wrong.append(f"status {status}, want 0")
        if not re.search(right, said, re.I | re.S):
            wrong.append(f"it does not say /{right}/")
    if also is not None and not also():
        wrong.append("what it left behind is wrong")
    if re.search(r"terminate called|Traceback|Exception raised from", said):
        wrong.append("a crash shows")
    print(f"{'BAD ' if wrong else 'good'}  {title}\n      $ pfc {command}")
    for text in said.splitlines()[-3:]:
        print("      " + text[:400])
    for text in wrong:
        print("      -> " + text)
    sys.stdout.flush()
    if wrong:
        failures.append(title)


def write(path, data):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def record(labels, body, key):
    flag = 0 if isinstance(labels, float) else len(labels)
    label = labels if flag == 0 else 0.0
    payload = struct.pack("<IfQQ", flag, label, key, 0)
    if flag:
        payload += struct.pack(f"<{flag}f", *labels)
    payload += body
    return struct.pack("<II", 0xCED7230A, len(payload)) + payload + b"\0" * (-len(payload) % 4)


def prepare():
    """Faces, their photos, pairs, and a network of two steps."""
    assert pfc("data synth faces --identities 12 --images 4 --unseen 8 --pairs 20")[0] == 0
    assert pfc("data unpack faces -o photos --format folder")[0] == 0
    write("run.toml", "output = 'run'\ndata.train = 'faces'\nmodel.network = 'tiny'\n"
                      "train = { batch_size = 12, steps = 2, threads = 1 }\n")
    status, _, err = pfc("train run.toml")
    assert status == 0, err


TRAIN = ("train run.toml --set output={0} --set data.train={1} --set train.batch_size=4 "
         "--set train.steps=1")


def outputs():  # where results are written to
    sets = "eval verification run/last.safetensors faces/unseen.bin --json "
    if os.geteuid() == 0 and os.system("mknod null c 1 3 2>/dev/null") == 0:  # a device of our own
        case("--json to a device leaves the device", sets + "null", right="accuracy|unseen",
             also=lambda: Path("null").is_char_device())
    case("--json to /dev/stdout is printed", sets + "/dev/stdout", right=r'"accuracy"')
    os.mkfifo("pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()), daemon=True)
    reader.start()
    case("--json to a FIFO reaches its reader", sets + "pipe", right="unseen",
         also=lambda: (reader.join(20), bool(read) and "accuracy" in read[0])[1])
    write("target.json", "old")
    os.symlink("target.json", "link.json")
    case("--json to a link writes its target", sets + "link.json", right="unseen",
         also=lambda: Path("link.json").is_symlink() and "accuracy" in Path("target.json").read_text())
    case("with stderr closed the data stays whole", "data shuffle faces -o shuffled", right="",
         shell_prefix="exec 2>&-; ", also=lambda: pfc("data verify shuffled")[0] == 0)


def early():  # what can be known at the start
    for what in ("--json none/a.json", "--report none/a.html", "--roc none/a.svg"):
        case(f"a missing folder is told at the start: {what}",
             f"eval verification run/last.safetensors faces/unseen.bin {what}", refused="none")
    case("embed into a missing folder is told at the start",
         "embed run/last.safetensors photos -o none/a.npy", refused="none")
    case("an unknown network is told before the data is read",
         TRAIN.format("o1", "faces") + " --set model.network=r51", refused="r51.*r50")
    good = pickle.load(open("faces/unseen.bin", "rb"), encoding="bytes")
    bins, same = good
    pickle.dump((bins[:10], same[:5]), open("few.bin", "wb"))
    pickle.dump((bins, [True] * len(same)), open("onekind.bin", "wb"))
    broken = list(bins)
    broken[3] = b"no picture"
    pickle.dump((broken, same), open("broken.bin", "wb"))
    for name, wanted in (("few", "10|pairs"), ("onekind", "both kinds"), ("broken", "image")):
        case(f"a verification set that cannot be used is told at the start: {name}.bin",
             TRAIN.format("o2" + name, "faces") + f" --set eval.sets={name}.bin", refused=wanted,
             also=lambda name=name: not Path(f"o2{name}/last.safetensors").exists())


def names():  # outputs and names
    case("embed -o emb.txt does not write names over the matrix",
         "embed run/last.safetensors photos -o emb.txt", refused=r"\.npy|\.txt")
    odd = Path("odd/a,b\tc\nd")
    odd.mkdir(parents=True)
    os.system("cp photos/id_0/*.jpg 'odd/a,b\tc\nd/'; mkdir odd/p2; cp photos/id_1/*.jpg odd/p2")
    case("odd names keep rows and names together", "embed run/last.safetensors odd -o odd.npy",
         right="", also=lambda: len(Path("odd.txt").read_text().splitlines()) ==
         numpy.load("odd.npy").shape[0] == 8)
    os.environ["HOME"] = str(Path.cwd() / "home")
    Path("home").mkdir()
    case("~ is the home folder", TRAIN.format("'~/x'", "faces"), right="",
         also=lambda: Path("home/x").exists() and not Path("~").exists())
    os.system("mkdir -p nums/id_1 nums/id_01; cp photos/id_1/*.jpg nums/id_1; cp photos/id_2/*.jpg nums/id_01")
    case("id_1 and id_01 are two people", "data info nums", right="2 identities")
    os.system("cp -r photos 'esc\x1b[31mred'")
    case("escapes in names do not reach the terminal", "data verify 'esc\x1b[31mred/none'",
         refused="none", also=lambda: "\x1b" not in "".join(pfc("data verify 'esc\x1b[31mred/none'")[1:]))
    before = sorted(os.listdir("faces"))
    case("inspect writes nothing beside the data", "inspect faces/train.rec", right="48 images",
         also=lambda: sorted(os.listdir("faces")) == before)


def formats():  # formats that are read, and what is passed over
    Path("mixed/p1").mkdir(parents=True)
    Path("mixed/p2/deeper").mkdir(parents=True)
    face = Image.open("photos/id_0/0_0.jpg").convert("RGB")
    face.save("mixed/p1/a.bmp")
    face.save("mixed/p1/b.webp", lossless=True)
    face.save("mixed/p1/c.jpg")
    os.rename("mixed/p1/c.jpg", "mixed/p1/c.jfif")
    face.save("mixed/p1/d.png")
    face.save("mixed/p1/E.JPG")
    case(".bmp, .webp, .jfif, .png and .JPG are all read", "data info mixed/p1/..", right="5 images")
    case("they all decode", "data verify mixed", right="")
    face.save("mixed/p2/deeper/x.png")
    case("nested people are read", "data info mixed", right="6 images of 2 identities")
    write("nothing/p/readme.txt", "hello")
    for command in ("data verify nothing", "data info nothing", "data merge nothing faces -o m.rec",
                    "data pack nothing -o n.rec", TRAIN.format("o3", "nothing")):
        case("nothing found is an error: " + command.split(" --set")[0], command,
             refused="no image|no picture|nothing|without images|jpeg|jpg")


def pictures():  # good pictures that were called corrupt
    source = Path("photos/id_0/0_0.jpg").read_bytes()
    assert source.endswith(b"\xff\xd9")
    for name, data in (("stray bytes before the end marker", source[:-2] + b"\0" * 20 + b"\xff\xd9"),
                       ("stray bytes behind the end marker", source + b"junk" * 9)):
        folder = Path("stray" + str(len(data)))
        write(folder / "p/a.jpg", data)
        case(f"a JPEG with {name} decodes", f"data verify {folder}", right="1")
    write("cut/p/a.jpg", source[: len(source) // 2])
    case("a JPEG that is cut is broken", "data verify cut", refused="1 of 1")
    Path("cmyk/p").mkdir(parents=True)
    Image.open("photos/id_0/0_0.jpg").convert("CMYK").save("cmyk/p/a.jpg")
    case("a CMYK JPEG decodes", "data verify cmyk", right="1")


def landmarks():  # what landmark lists look like
    template = [38.2946, 51.6963, 73.5318, 51.5014, 56.0252, 71.7366, 41.5493, 92.3655, 70.7299, 92.2041]
    images = sorted(str(p.relative_to("photos")) for p in Path("photos").rglob("*.jpg"))

    def lines(make):
        return "\n".join(make(name) for name in images) + "\n"

    numbers = " ".join(map(str, template))
    aligned = "48 faces|aligned"
    write("plain.txt", lines(lambda n: f"{n} {numbers}"))
    write("label.txt", lines(lambda n: f"{n} 7 {numbers}"))
    write("box.txt", lines(lambda n: f"{n} 10 10 100 100 {numbers}"))
    write("xxyy.txt", lines(lambda n: f"{n} " + " ".join(map(str, template[0::2] + template[1::2]))))
    write("bom.txt", b"\xef\xbb\xbf" + lines(lambda n: f"{n} {numbers}").encode())
    write("crlf.txt", lines(lambda n: f"{n} {numbers} ").replace("\n", "\r\n"))
    write("absurd.txt", lines(lambda n: f"{n} 50 50 50 51 90 10 3 100 77 20"))
    for name in ("plain", "label", "box", "xxyy", "bom", "crlf"):
        case(f"landmarks: {name}.txt is read right",
             f"data align photos --landmarks {name}.txt -o aligned_{name}", right="48 faces")
    case("landmarks: absurd points are refused", "data align photos --landmarks absurd.txt -o aligned_absurd",
         refused="absurd.txt")


def weights():  # weights that people have
    assert pfc("convert run/last.safetensors run.pth")[0] == 0
    state = torch.load("run.pth")
    for prefix in ("module.", "_orig_mod.", "backbone.", "model.", "features.module.", "feat_net.",
                   "module._orig_mod."):
        torch.save({prefix + k: v for k, v in state.items()}, "w.pth")
        case(f"weights: prefix {prefix}", "inspect w.pth", right="tiny|tensors")
        case(f"weights: prefix {prefix} is evaluated", "eval verification w.pth faces/unseen.bin", right="unseen")
    for key in ("state_dict", "model_state_dict", "model", "state_dict_backbone"):
        torch.save({key: state, "epoch": numpy.float64(3), "args": argparse.Namespace(lr=1),
                    "milestones": collections.Counter([1, 2]), "device": torch.device("cpu"),
                    "set": {1, 2}}, "w.pth")
        case(f"weights: under {key}, beside other objects", "eval verification w.pth faces/unseen.bin", right="unseen")
    torch.save(dict(state, **{"head.weight": torch.zeros(12, 512), "fc7.kernel": torch.zeros(512, 12)}), "w.pth")
    case("weights: a head's tensors are left out and counted", "convert w.pth w.safetensors", right="left out|without")
    torch.save(state, "old.pth", _use_new_zipfile_serialization=False)
    old = Path("old.pth").read_bytes()
    case("weights: a file of torch.save before 1.6 is read", "eval verification old.pth faces/unseen.bin",
         right="unseen", also=lambda: Path("old.pth").read_bytes() == old)


def lists():  # lists that people have
    images = sorted(str(p.relative_to("photos")) for p in Path("photos").rglob("*.jpg"))
    label = {name: int(Path(name).parent.name.removeprefix("id_")) for name in images}
    forms = {
        "im2rec.lst": "".join(f"{i}\t{label[n]}\t{n}\n" for i, n in enumerate(images)),
        "insightface.lst": "".join(f"1\t{n}\t{label[n]}\n" for n in images),
        "plsc.txt": "".join(f"{n}\t{label[n]}\n" for n in images),
        "crlf.lst": "".join(f"{i}\t{label[n]}\t{n} \r\n" for i, n in enumerate(images)),
        "bom.lst": "\ufeff" + "".join(f"{i}\t{label[n]}\t{n}\n" for i, n in enumerate(images)),
        "nonewline.lst": "\n".join(f"{i}\t{label[n]}\t{n}" for i, n in enumerate(images)),
    }
    for name, text in forms.items():
        write(name, text)
        case(f"lists: {name}", f"data pack {name} --root photos -o packed_{name}.rec",
             right="48 images of 12 identities")
    write("missing.lst", forms["im2rec.lst"].replace("id_3/", "id_33/").replace("id_4/", "id_44/"))
    case("lists: missing files are counted", "data pack missing.lst --root photos -o missing.rec", refused="8")
    a, b, c = images[0], images[1], images[10]
    pairs = {"lfwlike.txt": f"{a} {b} 1\n{a} {c} 0\n", "minus.txt": f"{a} {b} 1\n{a} {c} -1\n",
             "words.txt": f"{a} {b} True\n{a} {c} False\n", "pairs.csv": f"a,b,same\n{a},{b},1\n{a},{c},0\n",
             "flagless_end.txt": f"{a}\t{b}\t1 \r\n{a}\t{c}\t0",
             "calfw.txt": f"{a} 1\n{b} 1\n{a} 0\n{c} 0\n"}
    for name, text in pairs.items():
        write("pairs_" + name, text)
        case(f"pairs: {name}", f"data pack pairs_{name} --root photos -o pairs_{name}.bin", right="2 pairs")
    bins, same = pickle.load(open("faces/unseen.bin", "rb"), encoding="bytes")
    arrays = {"integers": (bins, numpy.array([int(s) for s in same])),
              "floats": (bins, numpy.array([float(s) for s in same])),
              "objects": (numpy.array(bins, dtype=object), same),
              "uint8 arrays": ([numpy.frombuffer(b, dtype=numpy.uint8) for b in bins], same)}
    for name, content in arrays.items():
        pickle.dump(content, open("set.bin", "wb"), protocol=4)
        case(f".bin: {name}", "eval verification run/last.safetensors set.bin", right="set")
    big = []
    for b in bins:
        out = io.BytesIO()
        Image.open(io.BytesIO(bytes(b))).resize((128, 128)).save(out, "JPEG", quality=95)
        big.append(out.getvalue())
    pickle.dump((big, same), open("big.bin", "wb"))
    case(".bin: images of another size", "eval verification run/last.safetensors big.bin", right="big")
    os.system("mkdir prop; cp faces/train.rec faces/train.idx prop; echo '12, 112, 112' > prop/property")
    case("property with blanks", "data info prop", right="48 images of 12")


def wrong_files():  # the wrong file
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    onnx.save(helper.make_model(graph), "model.onnx")
    write("model.params", struct.pack("<QQ", 0x112, 0) + b"\0" * 64)
    write("page.pth", "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n")
    write("lfs.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 99\n")
    write("empty.pth", "")
    numpy.save("array.npy", numpy.zeros((3, 4), dtype=numpy.float32))
    os.system("tar cf archive.tar photos; gzip -k -c archive.tar > archive.tar.gz; mkdir tars; cp archive.tar tars/shard-000000.tar")
    wrong = {"model.onnx": "onnx", "model.params": "mxnet|params", "page.pth": "html",
             "lfs.safetensors": "lfs", "empty.pth": "empty", "photos": "folder", "array.npy": "npy|numpy",
             "faces/unseen.bin": "verification|pickle|bin", "faces/train.rec": "record|rec",
             "archive.tar": "tar", "archive.tar.gz": "gz", "photos/id_0/0_0.jpg": "jpeg|jpg|image"}
    for name, kind in wrong.items():
        case(f"as a model: {name}", f"embed {name} photos -o e.npy", refused=kind)
    for name, kind in {**wrong, "run/last.safetensors": "safetensors|network|backbone"}.items():
        if name != "faces/unseen.bin":
            case(f"as a verification set: {name}", f"eval verification run/last.safetensors {name}", refused=kind)
    case("model and set swapped", "eval verification faces/unseen.bin run/last.safetensors", refused="verification set|pickle|swap|model")
    for name, kind in {k: v for k, v in wrong.items() if k not in ("photos", "faces/train.rec", "archive.tar")}.items():
        case(f"as a training set: {name}", TRAIN.format("o5", name), refused=kind)
    case("as a training set: a folder of .tar", TRAIN.format("o6", "tars"), refused="a folder of .tar.*pfc data")
    case("as a configuration: a model", "train run/last.safetensors", refused="safetensors|toml")
    case("megaface without lists", "eval megaface photos --model run/last.safetensors", refused="facescrub_lst|lists")
    torch.save({"epoch": 1, "state_dict_backbone": torch.load("run.pth"),
                "state_dict_softmax_fc": {"weight": torch.zeros(12, 512)},
                "state_optimizer": {"state": {}, "param_groups": []}}, "checkpoint_gpu_0.pt")
    case("inspect of checkpoint_gpu_0.pt", "inspect checkpoint_gpu_0.pt", right="tiny|backbone.*softmax_fc")
    for name, kind in wrong.items():
        if name in ("photos", "faces/unseen.bin", "faces/train.rec", "photos/id_0/0_0.jpg", "model.onnx"):
            continue
        case(f"inspect says what it is: {name}", f"inspect {name}", right=kind)


def small():  # small sets
    os.system("cp -r photos one_bad; echo 'no picture' > one_bad/id_3/3_12.jpg")
    case("one bad image of 48 counts once, and the sentence names the key",
         TRAIN.format("o7", "one_bad").replace("train.steps=1", "train.steps=0 --set train.epochs=3") +
         " --set data.max_corrupt_share=0.03", right="")
    os.system("cp -r photos one_worse; echo 'no picture' > one_worse/id_3/3_12.jpg")
    case("too many bad images: the key is named",
         TRAIN.format("o8", "one_worse").replace("train.steps=1", "train.steps=0 --set train.epochs=3") +
         " --set data.max_corrupt_share=0", refused="max_corrupt_share")
    os.system("mkdir -p allbad/a allbad/b; for i in 0 1 2 3; do echo x > allbad/a/$i.jpg; echo x > allbad/b/$i.jpg; done")
    case("no image decodes", TRAIN.format("o9", "allbad"), refused="decode|image")
    os.system("mkdir high; cp -r photos/id_0 high/all")
    case("one identity: the folder is one level too high", TRAIN.format("o10", "high"),
         refused="one level too high")


folder = tempfile.TemporaryDirectory(prefix="pfc-wrong-inputs-")
os.chdir(folder.name)
prepare()
for group in (outputs, early, names, formats, pictures, landmarks, weights, lists, wrong_files, small):
    print(f"\n== {group.__name__}")
    group()
print(f"\n{count} cases, {len(failures)} not as they should be")
for title in failures:
    print("  " + title)
sys.exit(1 if failures else 0)
