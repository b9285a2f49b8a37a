"""The protocols of `pfc eval` from Python."""

from __future__ import annotations

import json
import os
import pathlib
import pickle
import shutil
import subprocess
import warnings
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
import torch
from iresnet import TinyIResNet
from ranks import run_ranks

import partial_fc
from partial_fc import VerificationSet, all_pairs, ijb, megaface, verification

PAIRS = 60


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("faces")
    partial_fc.draw_faces(folder, identities=8, images=4, unseen=8, pairs=PAIRS, seed=5)
    return folder


def pfc(*arguments: Any) -> None:
    program = os.environ.get("PFC_BINARY")
    if not program:
        pytest.skip("PFC_BINARY names no program: run by ctest")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def trained(faces: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Tuple[pathlib.Path, TinyIResNet]:
    """A network that was trained for a few steps: its file, and the same as a module."""
    output = tmp_path_factory.mktemp("run")
    settings = {
        "output": output / "run",
        "data.train": faces,
        "model.network": "tiny",
        "train.batch_size": 8,
        "train.steps": 8,
        "schedule.lr": 0.02,
    }
    (output / "run.toml").write_text("")
    chosen = [argument for key, value in settings.items() for argument in ("--set", f"{key}={value}")]
    pfc("train", output / "run.toml", *chosen)
    pfc("convert", output / "run" / "last.safetensors", output / "last.pth")
    weights = torch.load(output / "last.pth", weights_only=True)
    network = TinyIResNet(weights["fc.weight"].shape[0])
    missing, unknown = network.load_state_dict(weights, strict=False)
    assert not unknown and all(name.endswith("num_batches_tracked") for name in missing)
    return output / "run" / "last.safetensors", network


@pytest.fixture(scope="module")
def photos(faces: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The same images as files: one group of people, IJB-C's folder, and MegaFace's."""
    folder = tmp_path_factory.mktemp("photos")
    pfc("data", "unpack", faces, "-o", folder / "groups" / "all")
    people = folder / "groups" / "all"
    names = sorted(str(path.relative_to(people)) for path in people.glob("*/*.jpg"))
    assert len(names) == 32

    meta = folder / "IJBC" / "meta"
    meta.mkdir(parents=True)
    points = "38.3 51.7 73.5 51.5 56 71.7 41.5 92.4 70.7 92.2"
    owner = {name: 1 + i // 2 for i, name in enumerate(names)}  # two templates a person
    (meta / "ijbc_name_5pts_score.txt").write_text("".join(f"{name} {points} 0.9\n" for name in names))
    (meta / "ijbc_face_tid_mid.txt").write_text("".join(f"{name} {owner[name]} {i}\n" for i, name in enumerate(names)))
    pairs = [(a, b, int((a + 1) // 2 == (b + 1) // 2)) for a in range(1, 17) for b in range(a + 1, 17)]
    (meta / "ijbc_template_pair_label.txt").write_text("".join(f"{a} {b} {same}\n" for a, b, same in pairs))
    header = "TEMPLATE_ID,SUBJECT_ID,FILENAME,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT\n"
    rows = {t: f"{t},{(t + 1) // 2},x.jpg,0,0,1,1\n" for t in range(1, 17)}
    (meta / "ijbc_1N_gallery_G1.csv").write_text(header + "".join(rows[t] for t in range(1, 9, 2)))
    (meta / "ijbc_1N_gallery_G2.csv").write_text(header + "".join(rows[t] for t in range(9, 15, 2)))
    (meta / "ijbc_1N_probe_mixed.csv").write_text(header + "".join(rows[t] for t in range(2, 17, 2)))
    (folder / "IJBC" / "loose_crop").symlink_to(people)

    pack = folder / "megaface"
    pack.mkdir()
    (pack / "facescrub_lst").write_text("".join(f"{name}\n" for name in names[:16]))
    (pack / "megaface_lst").write_text("".join(f"all/{name}\n" for name in names[16:]))
    (pack / "megaface_noises.txt").write_text(f"all/{names[20]}\n")
    (pack / "facescrub_images").symlink_to(people)
    (pack / "megaface_images").symlink_to(folder / "groups")
    return folder


def thumbnail(images: torch.Tensor) -> torch.Tensor:
    """An embedding that needs no network."""
    return torch.nn.functional.avg_pool2d(images, 8).flatten(1)


# The sets


def test_a_verification_set_has_its_pairs(faces: pathlib.Path) -> None:
    pairs = VerificationSet(faces / "unseen.bin")
    assert len(pairs) == PAIRS and pairs.name == "unseen"
    assert pairs.images.shape == (2 * PAIRS, 112, 112, 3) and pairs.images.dtype == torch.uint8
    assert pairs.issame.dtype == torch.bool and int(pairs.issame.sum()) == PAIRS // 2
    first, second, same = pairs[3]
    assert first.equal(pairs.images[6]) and second.equal(pairs.images[7]) and same == bool(pairs.issame[3])
    assert pairs[-1][0].equal(pairs[PAIRS - 1][0])
    with pytest.raises(IndexError, match=f"pair {PAIRS} of {PAIRS}"):
        pairs[PAIRS]


def test_images_come_normalised_in_batches_and_where_they_are_wanted(faces: pathlib.Path) -> None:
    pairs = VerificationSet(faces / "unseen.bin")
    expected = (pairs.images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    seen: List[torch.Tensor] = []

    def embed(images: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        seen.append(images.clone())
        return thumbnail(images)

    verification(embed, pairs, batch_size=50, flip=False)
    assert [len(images) for images in seen] == [50, 50, 20]
    torch.testing.assert_close(torch.cat(seen), expected, rtol=0, atol=1e-6)
    seen.clear()
    verification(embed, pairs, batch_size=50)
    assert len(seen) == 6
    torch.testing.assert_close(seen[1], expected[:50].flip(3), rtol=0, atol=1e-6)


# The numbers of pfc eval


def figures(path: pathlib.Path) -> List[Any]:
    return list(json.loads(path.read_text())["tables"])


def assert_close(some: Any, others: Any) -> None:
    """Equal but for rounding."""
    if isinstance(some, dict):
        assert some.keys() == others.keys()
        for key in some:
            assert_close(some[key], others[key])
    elif isinstance(some, list):
        assert len(some) == len(others)
        for one, other in zip(some, others):
            assert_close(one, other)
    elif isinstance(some, float):
        assert others == pytest.approx(some, rel=1e-4, abs=1e-4)
    else:
        assert some == others


def test_verification_gives_the_numbers_and_files_of_pfc_eval(
    trained: Tuple[pathlib.Path, TinyIResNet], faces: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    file, network = trained
    pfc("eval", "verification", file, faces / "unseen.bin", "--json", tmp_path / "pfc.json")
    network.train()
    found = verification(network, faces / "unseen.bin", report=tmp_path / "report")
    assert network.training and network.bn1.training
    (expected,) = json.loads((tmp_path / "pfc.json").read_text())
    (written,) = json.loads((tmp_path / "report" / "unseen.json").read_text())
    assert_close(expected, written)
    assert found["accuracy"] == written["accuracy"] and found["operating_points"] == written["tar_at_far"]
    assert found["tar_at_far"] == {point["far"]: point["tar"] for point in written["tar_at_far"]}
    assert found["scores"].shape == (PAIRS,) and found["scores"].dtype == torch.float64
    assert 0.5 < found["accuracy"] < 1
    page = (tmp_path / "report" / "unseen.html").read_text()
    assert "TinyIResNet" in page and "Two people, highest scores, unseen" in page
    assert (tmp_path / "report" / "unseen-roc.svg").read_text().startswith("<svg")


def test_real_pairs_give_the_numbers_of_pfc_eval(
    trained: Tuple[pathlib.Path, TinyIResNet], tmp_path: pathlib.Path
) -> None:
    folder = os.environ.get("PFC_FACES")
    if not folder:
        pytest.skip("PFC_FACES names no folder")
    file, network = trained
    with (pathlib.Path(folder) / "celeba_val.bin").open("rb") as whole:
        images, same = pickle.load(whole, encoding="bytes")
    some = list(range(0, len(same), len(same) // 100))  # of both kinds
    pairs = tmp_path / "some.bin"
    pairs.write_bytes(pickle.dumps(([images[2 * p + i] for p in some for i in (0, 1)], [same[p] for p in some])))
    pfc("eval", "verification", file, pairs, "--json", tmp_path / "pfc.json")
    (expected,) = json.loads((tmp_path / "pfc.json").read_text())
    verification(network, pairs, report=tmp_path)
    (found,) = json.loads((tmp_path / "some.json").read_text())
    assert_close(expected, found)


def test_ijb_gives_the_numbers_and_files_of_pfc_eval(
    trained: Tuple[pathlib.Path, TinyIResNet], photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    file, network = trained
    pfc("eval", "ijb", photos / "IJBC", "--model", file, "--json", tmp_path / "pfc.json")
    found = ijb(network, photos / "IJBC", report=tmp_path)
    assert_close(figures(tmp_path / "pfc.json"), figures(tmp_path / "IJB-C.json"))
    verified, identified = figures(tmp_path / "IJB-C.json")
    corners, every_score = verified["rows"]
    assert (found["images"], found["templates"]) == (32, 16)
    assert (found["genuine_pairs"], found["impostor_pairs"]) == (8, 112)
    assert list(found["tar_at_far"].values()) == list(corners.values())[-6:]
    assert list(found["tar_at_far_of_every_score"].values()) == list(every_score.values())[-6:]
    assert list(found["tar_at_far"]) == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    assert len(found["identification"]) == len(identified["rows"])
    for one, row in zip(found["identification"], identified["rows"]):
        figures_of_one = [one["count"], one["gallery"], one["mated"], one["non_mated"]]
        figures_of_one += [*one["rank_rates"].values(), *one["tpir_at_fpir"].values()]
        assert figures_of_one == list(row.values())
    assert (tmp_path / "IJB-C.html").read_text().startswith("<!DOCTYPE html>")


def test_all_pairs_gives_the_numbers_and_files_of_pfc_eval(
    trained: Tuple[pathlib.Path, TinyIResNet], photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    file, network = trained
    options = ["--far", 0.01, 0.1, "--json", tmp_path / "pfc.json"]
    pfc("eval", "ifrt", photos / "groups", "--model", file, *options)
    found = all_pairs(network, photos / "groups", fars=(0.01, 0.1), report=tmp_path)
    assert_close(figures(tmp_path / "pfc.json"), figures(tmp_path / "all_pairs.json"))
    assert list(found["groups"]) == ["ALL"]  # there is one group
    group = found["groups"]["ALL"]
    assert (group["identities"], group["images"], group["genuine_pairs"], group["impostor_pairs"]) == (8, 32, 48, 448)
    assert group["tar_at_far"] == {point["far"]: point["tar"] for point in group["operating_points"]}
    score, first, second = found["hardest_impostors"][0]
    assert -1 <= score <= 1 and first.startswith("all/id_") and first.split("/")[1] != second.split("/")[1]
    assert found["left_out"] == [] and found["single"] == 0


def test_megaface_gives_the_numbers_and_files_of_pfc_eval(
    trained: Tuple[pathlib.Path, TinyIResNet], photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    file, network = trained
    options = ["--far", 0.05, "--json", tmp_path / "pfc.json"]
    pfc("eval", "megaface", photos / "megaface", "--model", file, *options)
    found = megaface(network, photos / "megaface", far=0.05, report=tmp_path)
    assert_close(figures(tmp_path / "pfc.json"), figures(tmp_path / "megaface.json"))
    summary = figures(tmp_path / "megaface.json")[0]["rows"][0]
    assert (found["probes"], found["people"], found["distractors"], found["unmatched"]) == (16, 4, 16, 1)
    assert found["rank_1"] == summary["Id rank-1 %"] == found["rank_1_by_distractors"][16]
    assert found["verification"]["far"] == 0.05 and 0 <= found["verification"]["tar"] <= 1


def test_ranks_share_the_work_and_agree(faces: pathlib.Path, tmp_path: pathlib.Path) -> None:
    alone = verification(thumbnail, faces / "unseen.bin")

    def together(rank: int, world: int) -> Tuple[float, List[float], int]:
        images = 0

        def embed(batch: torch.Tensor) -> torch.Tensor:
            nonlocal images
            images += len(batch)
            return thumbnail(batch)

        group = torch.distributed.group.WORLD
        found = verification(embed, faces / "unseen.bin", batch_size=8, report=tmp_path, process_group=group)
        return found["accuracy"], found["scores"].tolist(), images

    for accuracy, scores, images in run_ranks(2, together):
        assert accuracy == alone["accuracy"] and scores == alone["scores"].tolist()
        assert images == 2 * PAIRS  # half of the images and of their mirror images
    assert (tmp_path / "unseen.json").exists()


def test_one_rank_of_several_may_evaluate(faces: pathlib.Path) -> None:
    def evaluate(rank: int, world: int) -> float:
        return verification(thumbnail, faces / "unseen.bin")["accuracy"] if rank == 0 else 0.0

    assert run_ranks(2, evaluate)[0] == verification(thumbnail, faces / "unseen.bin")["accuracy"]


def test_an_embedding_of_its_own_mirror_image_gives_the_same_with_or_without_flip(faces: pathlib.Path) -> None:
    def symmetric(images: torch.Tensor) -> torch.Tensor:
        return thumbnail(images + images.flip(3))

    with_flip, without = (verification(symmetric, faces / "unseen.bin", flip=flip) for flip in (True, False))
    torch.testing.assert_close(with_flip["scores"], without["scores"], rtol=1e-5, atol=1e-7)
    assert with_flip["xnorm"] == pytest.approx(without["xnorm"])


# Wrong use


@pytest.mark.parametrize(
    "embed, sentence",
    [
        (lambda images: images, r"embed gave .*Float.* \[64, 3, 112, 112\] for 64 images, want floats \[64, d\]"),
        (lambda images: thumbnail(images)[:3], r"\[3, 588\] for 64 images"),
        (lambda images: thumbnail(images).int(), "Int.* for 64 images, want floats"),
        (lambda images: thumbnail(images).numpy(), "embed gave <class 'numpy.ndarray'>, want a torch.Tensor"),
        (lambda images: thumbnail(images)[:, : len(images)], r"\[56, 56\] for 56 images, want floats \[56, 64\], as"),
        (lambda images: thumbnail(images) * float("nan"), "not finite|NaN|nan"),
        (3, "embed is 3, want a module or a function"),
    ],
)
def test_what_an_embedding_must_be_is_said(faces: pathlib.Path, embed: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        verification(embed, faces / "unseen.bin")


def test_an_error_of_the_users_function_reaches_the_user(faces: pathlib.Path) -> None:
    class Mine(Exception):
        pass

    def embed(images: torch.Tensor) -> torch.Tensor:
        raise Mine("mine")

    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout()).train()
    network.register_forward_pre_hook(lambda *_: embed(torch.empty(0)))
    for each in (embed, network):
        with pytest.raises(Mine, match="^mine$"):
            verification(each, faces / "unseen.bin")
    assert network.training and network[1].training


def test_files_that_are_not_there_or_broken_are_told(
    faces: pathlib.Path, photos: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    evaluations: Dict[str, Callable[[Any], Any]] = {
        "verification": lambda path: verification(thumbnail, path),
        "ijb": lambda path: ijb(thumbnail, path),
        "megaface": lambda path: megaface(thumbnail, path),
        "all_pairs": lambda path: all_pairs(thumbnail, path),
    }
    for evaluate in evaluations.values():
        with pytest.raises(FileNotFoundError, match="nowhere"):
            evaluate(tmp_path / "nowhere")
    (tmp_path / "text.bin").write_text("hello")
    with pytest.raises(ValueError, match="text.bin"):
        VerificationSet(tmp_path / "text.bin")
    pairs = (faces / "unseen.bin").read_bytes()
    (tmp_path / "short.bin").write_bytes(pairs[: len(pairs) // 2])
    with pytest.raises(ValueError, match="short.bin"):
        VerificationSet(tmp_path / "short.bin")
    last = pairs.rfind(b"\xff\xd8\xff")
    (tmp_path / "broken.bin").write_bytes(pairs[:last] + b"xxx" + pairs[last + 3 :])
    with pytest.raises(ValueError, match=f"1 of {2 * PAIRS} images cannot be used, .*: .*119"):
        verification(thumbnail, tmp_path / "broken.bin")
    with pytest.raises(ValueError, match="^broken: image 119: "):
        VerificationSet(tmp_path / "broken.bin").images
    with pytest.raises(FileNotFoundError, match="has no facescrub_lst, the list of its images"):
        megaface(thumbnail, tmp_path)
    with pytest.raises(ValueError, match="batch_size is 0, want 1 or more"):
        verification(thumbnail, faces / "unseen.bin", batch_size=0)
    with pytest.raises(ValueError, match="a false accept rate is 2, want one from 0 to 1"):
        all_pairs(thumbnail, photos / "groups", fars=[2.0])
    with pytest.raises(ValueError, match="no group mask among the names"):
        all_pairs(thumbnail, photos / "groups", between=("mask", "all"))
    with pytest.raises((ValueError, OSError), match="text.bin"):
        verification(thumbnail, faces / "unseen.bin", report=tmp_path / "text.bin")


def test_images_that_do_not_decode_are_left_out_with_a_warning(photos: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(photos / "groups", tmp_path / "groups")
    (tmp_path / "groups" / "all" / "id_0" / "0_1.jpg").write_text("<html>")
    with pytest.warns(RuntimeWarning, match="^left out: .*0_1.jpg"):
        found = all_pairs(thumbnail, tmp_path / "groups")
    assert len(found["left_out"]) == 1
    assert found["groups"]["ALL"]["images"] == 31


@pytest.fixture(autouse=True)
def no_unexpected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=RuntimeWarning)
        yield
