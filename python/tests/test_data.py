"""Training sets from Python: the batches of `pfc train`, and images one by one."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
import threading
import time
import warnings
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np
import pytest
import torch
from ranks import run_ranks

import partial_fc
from partial_fc import RecordDataset, RecordLoader, _native

PEOPLE, IMAGES = 6, 7
AUGMENT = {"crop": {"probability": 0.6, "area": 0.3}, "grey": {"probability": 0.5}}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("faces")
    partial_fc.draw_faces(folder, identities=PEOPLE, images=IMAGES, unseen=2, pairs=20, seed=3)
    return folder


def take(loader: RecordLoader, batches: int) -> List[Tuple[torch.Tensor, torch.Tensor]]:
    """So many batches, over as many epochs as it takes."""
    found: List[Tuple[torch.Tensor, torch.Tensor]] = []
    while True:
        for batch in loader:
            found.append(batch)
            if len(found) == batches:
                return found


def assert_same(some: List[Tuple[torch.Tensor, torch.Tensor]], others: List[Tuple[torch.Tensor, torch.Tensor]]) -> None:
    assert len(some) == len(others)
    for (images, labels), (other_images, other_labels) in zip(some, others):
        torch.testing.assert_close(images, other_images, rtol=0, atol=0)
        assert labels.tolist() == other_labels.tolist()


def of_pfc(folder: pathlib.Path, batch: int, rank: int, world: int, first: int, steps: int, **keys: str) -> Any:
    program = os.environ.get("PFC_CPP_BATCHES")
    if not program:
        pytest.skip("PFC_CPP_BATCHES names no program: run by ctest")
    output = folder / f"batches-{os.getpid()}"
    settings = {"data.train": str(folder), "train.batch_size": str(batch * world), **keys}
    command = [program, str(rank), str(world), str(first), str(steps), str(output)]
    subprocess.run([*command, *(f"{key}={value}" for key, value in settings.items())], check=True)
    step = np.dtype([("labels", np.int64, (batch,)), ("pixels", np.uint8, (batch, 112, 112, 3))])
    found = np.fromfile(output, dtype=step)
    output.unlink()
    return [(torch.from_numpy(one["pixels"].copy()), torch.from_numpy(one["labels"].copy())) for one in found]


# What `pfc train` loads


@pytest.mark.parametrize("rank, world", [(0, 1), (0, 3), (2, 3)])
def test_batches_are_those_of_pfc_train(faces: pathlib.Path, rank: int, world: int) -> None:
    loader = RecordLoader(faces, 4, seed=11, augment=AUGMENT, dtype=torch.uint8, rank=rank, world_size=world)
    keys = {
        "train.seed": "11",
        "data.augment": '["crop", "grey"]',
        "augment.crop.probability": "0.6",
        "augment.crop.area": "0.3",
        "augment.grey.probability": "0.5",
    }
    assert_same(take(loader, 14), of_pfc(faces, 4, rank, world, 0, 14, **keys))


def test_other_settings_are_those_of_pfc_train_too(faces: pathlib.Path) -> None:
    loader = RecordLoader(faces, 5, seed=2**40, mirror=False, shuffle_window=1024, dtype=torch.uint8)
    keys = {"train.seed": str(2**40), "data.mirror": "false", "data.shuffle_window": "1024"}
    assert_same(take(loader, 9), of_pfc(faces, 5, 0, 1, 0, 9, **keys))


def test_real_faces_come_as_pfc_train_loads_them(tmp_path: pathlib.Path) -> None:
    folder = os.environ.get("PFC_FACES")
    if not folder:
        pytest.skip("PFC_FACES names no folder")
    loader = RecordLoader(folder, 16, min_images=12, augment="crop", dtype=torch.uint8, cache_dir=tmp_path)
    keys = {"data.min_images": "12", "data.augment": "crop", "data.train": folder, "data.cache_dir": str(tmp_path)}
    assert_same(take(loader, 4), of_pfc(tmp_path, 16, 0, 1, 0, 4, **keys))
    assert int(RecordDataset(folder, min_images=12, cache_dir=tmp_path).labels.bincount().min()) >= 12


def test_ranks_together_see_the_batches_of_one(faces: pathlib.Path) -> None:
    one = take(RecordLoader(faces, 6, augment="crop"), 9)
    parts = [take(RecordLoader(faces, 2, augment="crop", rank=rank, world_size=3), 9) for rank in range(3)]
    together = [tuple(torch.cat([part[step][what] for part in parts]) for what in (0, 1)) for step in range(9)]
    assert_same(one, together)  # type: ignore[arg-type]


def test_the_ranks_are_those_of_torch_distributed(faces: pathlib.Path) -> None:
    def labels(rank: int, world: int) -> List[List[int]]:
        loader = RecordLoader(faces, 3)
        assert len(loader) == 7
        return [labels.tolist() for _, labels in loader]

    alone = [labels.tolist() for _, labels in RecordLoader(faces, 6)]
    first, second = run_ranks(2, labels)
    assert [a + b for a, b in zip(first, second)] == alone


# Forms and epochs


def test_every_form_holds_the_same_pixels(faces: pathlib.Path) -> None:
    bytes_, plain, last = (
        take(RecordLoader(faces, 7, dtype=dtype, memory_format=order), 3)
        for dtype, order in [
            (torch.uint8, torch.contiguous_format),
            (torch.float32, torch.contiguous_format),
            (torch.float32, torch.channels_last),
        ]
    )
    for (pixels, labels), (images, _), (images_last, _) in zip(bytes_, plain, last):
        assert pixels.dtype == torch.uint8 and pixels.shape == (7, 112, 112, 3) and pixels.is_contiguous()
        assert images.dtype == torch.float32 and images.shape == (7, 3, 112, 112) and images.is_contiguous()
        assert images_last.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64 and labels.shape == (7,)
        expected = (pixels.permute(0, 3, 1, 2).double() / 255 - 0.5) / 0.5
        torch.testing.assert_close(images.double(), expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(images, images_last, rtol=0, atol=0)


def test_batches_stay_as_they_were_given(faces: pathlib.Path) -> None:
    loader = RecordLoader(faces, 7, dtype=torch.uint8)
    first, _ = next(iter(loader))
    before = first.clone()
    take(loader, 12)
    loader.close()
    assert first.equal(before)


def test_an_epoch_has_every_image_once(faces: pathlib.Path) -> None:
    loader = RecordLoader(faces, 7)
    assert len(loader) == 6 and loader.num_images == PEOPLE * IMAGES and loader.num_classes == PEOPLE
    orders = []
    for _ in range(3):
        labels = [int(label) for _, batch in loader for label in batch]
        assert sorted(labels) == sorted(list(range(PEOPLE)) * IMAGES)
        orders.append(labels)
    assert orders[0] != orders[1] != orders[2] and loader.step == 18


def test_epochs_are_a_stream_where_batches_do_not_divide_the_set(faces: pathlib.Path) -> None:
    loader = RecordLoader(faces, 10)
    lengths = [sum(1 for _ in loader) for _ in range(4)]
    assert lengths == [5] * 4 == [len(loader)] * 4
    again = RecordLoader(faces, 10)
    labels = [int(label) for _, batch in take(again, 21) for label in batch][: 5 * PEOPLE * IMAGES]
    for begin in range(0, len(labels), PEOPLE * IMAGES):
        assert sorted(labels[begin : begin + PEOPLE * IMAGES]) == sorted(list(range(PEOPLE)) * IMAGES)


def test_a_loop_that_is_left_early_is_continued(faces: pathlib.Path) -> None:
    loader, whole = RecordLoader(faces, 7), take(RecordLoader(faces, 7), 6)
    for _ in loader:
        break
    assert_same(whole[1:], list(loader))


def test_a_folder_of_images_is_a_set(faces: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pfc = os.environ.get("PFC_BINARY")
    if not pfc:
        pytest.skip("PFC_BINARY names no program: run by ctest")
    subprocess.run([pfc, "data", "unpack", str(faces), "-o", str(tmp_path / "photos")], check=True, capture_output=True)
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    with pytest.warns(RuntimeWarning, match="photos: passed over: .*notes.txt|photos: passed over: 1 file"):
        photos = RecordDataset(tmp_path / "photos")
    assert len(photos) == PEOPLE * IMAGES and photos.num_classes == PEOPLE
    with pytest.warns(RuntimeWarning, match="passed over"):
        loader = RecordLoader(tmp_path / "photos", 7)
    assert loader.summary["passed_over"] and len(take(loader, 7)) == 7


def test_the_head_trains_on_it(faces: pathlib.Path) -> None:
    loader = RecordLoader(faces, 7)
    backbone = torch.nn.Sequential(torch.nn.AvgPool2d(16), torch.nn.Flatten(), torch.nn.Linear(3 * 7 * 7, 16))
    head = partial_fc.PartialFC(16, loader.num_classes, sample_rate=1.0)
    optimizers = [torch.optim.SGD(backbone.parameters(), lr=0.05), head.optimizer(lr=0.05)]
    losses = []
    for _ in range(12):
        for images, labels in loader:
            loss = head(backbone(images), labels)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])


# Resuming


@pytest.mark.parametrize("done", [0, 1, 4, 6, 9])
def test_a_resumed_loader_gives_the_batches_that_follow(faces: pathlib.Path, tmp_path: pathlib.Path, done: int) -> None:
    whole = take(RecordLoader(faces, 7, augment="grey"), 15)
    loader = RecordLoader(faces, 7, augment="grey")
    if done:
        take(loader, done)
    torch.save(loader.state_dict(), tmp_path / "state.pt")
    resumed = RecordLoader(faces, 7, augment="grey")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.step == done
    rest_of_epoch = list(resumed)
    assert len(rest_of_epoch) == 6 - done % 6
    assert_same(whole[done:], rest_of_epoch + take(resumed, 15 - done - len(rest_of_epoch)))


def test_a_state_goes_back_too(faces: pathlib.Path) -> None:
    loader = RecordLoader(faces, 7)
    take(loader, 2)
    state = loader.state_dict()
    following = take(loader, 3)
    loader.load_state_dict(state)
    assert_same(following, take(loader, 3))


def test_another_number_of_ranks_resumes(faces: pathlib.Path) -> None:
    loader = RecordLoader(faces, 6)
    take(loader, 3)
    halves = [RecordLoader(faces, 3, rank=rank, world_size=2) for rank in range(2)]
    for half in halves:
        half.load_state_dict(loader.state_dict())
    (images, labels), *parts = (take(each, 1)[0] for each in [loader, *halves])
    assert torch.cat([part[0] for part in parts]).equal(images)


def test_a_state_of_other_settings_or_another_set_is_refused(faces: pathlib.Path, tmp_path: pathlib.Path) -> None:
    state = RecordLoader(faces, 7).state_dict()
    for name, other in [
        ("seed", RecordLoader(faces, 7, seed=1)),
        ("global_batch_size", RecordLoader(faces, 6)),
        ("mirror", RecordLoader(faces, 7, mirror=False)),
        ("shuffle_window", RecordLoader(faces, 7, shuffle_window=1024)),
        ("min_images", RecordLoader(faces, 7, min_images=2)),
    ]:
        with pytest.raises(ValueError, match=f"^{name} is .*, but the state has .*: a resumed run needs the value"):
            other.load_state_dict(state)
    partial_fc.draw_faces(tmp_path, identities=PEOPLE, images=IMAGES + 1, unseen=2, pairs=20)
    with pytest.raises(
        ValueError, match="the training set has 48 images of 6 identities, .*: a resumed run needs the data"
    ):
        RecordLoader(tmp_path, 7).load_state_dict(state)
    with pytest.warns(RuntimeWarning, match="augmentations have changed"):
        RecordLoader(faces, 7, augment="crop").load_state_dict(state)


# Broken images


def break_images(folder: pathlib.Path, *numbers: int) -> None:
    """Overwrites the beginnings of images in a whole train.rec."""
    rec = bytearray((folder / "train.rec").read_bytes())
    begins = [found.start() for found in re.finditer(b"\xff\xd8\xff", rec)]
    assert len(begins) == PEOPLE * IMAGES
    for number in numbers:
        rec[begins[number] : begins[number] + 3] = b"bad"
    (folder / "train.rec").write_bytes(rec)


def copy_of(faces: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    return shutil.copytree(faces, folder, ignore=shutil.ignore_patterns("*.pfcidx", "*.pfcbad"))


@pytest.fixture
def broken(faces: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    folder = copy_of(faces, tmp_path / "broken")
    break_images(folder, 9)
    return folder


def test_a_broken_image_is_named_and_its_place_has_another(faces: pathlib.Path, broken: pathlib.Path) -> None:
    whole = take(RecordLoader(faces, 7, dtype=torch.uint8), 6)
    loader = RecordLoader(broken, 7, dtype=torch.uint8, max_corrupt_share=1.0)
    with pytest.warns(RuntimeWarning, match="^corrupt image, left out: image .*: ") as found:
        batches = list(loader)
    assert len(found) == 1 and len(loader.corrupt) == 1
    differ = [
        (step, place)
        for step, ((images, _), (others, _)) in enumerate(zip(whole, batches))
        for place in range(7)
        if not images[place].equal(others[place])
    ]
    ((step, place),) = differ
    next_place = (place + 1) % 7
    assert batches[step][0][place].equal(batches[step][0][next_place])
    assert batches[step][1][place] == batches[step][1][next_place]

    with pytest.warns(RuntimeWarning, match="broken: left out 1 images that did not decode earlier"):
        later = RecordLoader(broken, 7)
    assert later.num_images == PEOPLE * IMAGES - 1 and later.summary["images_excluded"] == 1
    with pytest.warns(RuntimeWarning, match="corrupt image"):
        later.load_state_dict(loader.state_dict())  # of a time when the image was in the set
        assert later.num_images == PEOPLE * IMAGES
        list(later)


def test_too_many_broken_images_stop_the_loader(faces: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = copy_of(faces, tmp_path / "broken")
    break_images(folder, 9, 20)
    with pytest.raises(ValueError, match=r"corrupt, more than the share of 0.001 .*max_corrupt_share.*image "):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            take(RecordLoader(folder, 7), 6)


def test_a_batch_without_a_good_image_is_refused(faces: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = copy_of(faces, tmp_path / "broken")
    break_images(folder, *range(PEOPLE * IMAGES))
    with pytest.raises(ValueError, match="step 0: no image of this rank's batch decodes; the last one: image "):
        take(RecordLoader(folder, 7, max_corrupt_share=1.0), 1)


def test_a_dataset_names_a_broken_image(broken: pathlib.Path) -> None:
    dataset = RecordDataset(broken)
    refused = 0
    for i in range(len(dataset)):
        try:
            dataset[i]
        except ValueError as error:
            assert str(error).startswith("image ")
            refused += 1
    assert refused == 1


# Wrong use


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"batch_size": 0}, "batch_size is 0, want an integer from 1 to"),
        ({"batch_size": 43}, "batch_size is 43, more than the set has images, 42"),
        ({"batch_size": 22, "rank": 0, "world_size": 2}, "batch_size is 22 on each of 2 ranks, more than the set has"),
        ({"batch_size": 2.0}, "batch_size is 2.0, want an integer"),
        ({"seed": -1}, "seed is -1, want an integer of at least 0"),
        ({"min_images": 0}, "min_images is 0, want an integer of at least 1"),
        ({"min_images": 8}, "no identity has 8 images or more"),
        ({"prefetch": 0}, "prefetch is 0, want an integer from 1"),
        ({"workers": -1}, "workers is -1, want"),
        ({"mirror": 1}, "mirror is 1, want true or false"),
        ({"augment": "blurr"}, r"augment is \['blurr'\], want a list out of .*crop"),
        ({"augment": ["crop", "crop"]}, "augment has a name more than once"),
        ({"augment": {"crop": {"probability": 2}}}, "crop.probability is 2, want a number from 0 to 1"),
        ({"augment": {"crop": {"size": 2}}}, "there is no setting crop.size"),
        ({"dtype": torch.float16}, "dtype is torch.float16, want torch.float32 or torch.uint8"),
        ({"memory_format": torch.preserve_format}, "memory_format is .*, want"),
        ({"rank": 0}, "want either both rank and world_size"),
        ({"rank": 2, "world_size": 2}, "rank is 2 of 2 ranks"),
    ],
)
def test_settings_without_sense_are_refused(faces: pathlib.Path, settings: Dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        RecordLoader(faces, **{"batch_size": 7, **settings})


@pytest.mark.parametrize("open_set", [lambda path: RecordLoader(path, 2), RecordDataset])
def test_a_set_that_is_not_there_or_broken_is_told(faces: pathlib.Path, tmp_path: pathlib.Path, open_set: Any) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: not found, want a .rec file or a folder of images"):
        open_set(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no image found, in it and all folders below"):
        open_set(tmp_path)
    (tmp_path / "text.rec").write_text("this is not a set of images " * 100)
    with pytest.raises(ValueError, match="text.rec"):
        open_set(tmp_path / "text.rec")
    rec = (faces / "train.rec").read_bytes()
    (tmp_path / "train.rec").write_bytes(rec[: len(rec) // 2])
    shutil.copy(faces / "train.idx", tmp_path)
    with pytest.raises(ValueError, match="train.rec|train.idx"):
        open_set(tmp_path)


def test_ranks_that_see_different_sets_are_told(faces: pathlib.Path, tmp_path: pathlib.Path) -> None:
    partial_fc.draw_faces(tmp_path, identities=PEOPLE, images=3, unseen=2, pairs=20)

    def open_it(rank: int, world: int) -> str:
        try:
            RecordLoader([faces, tmp_path][rank], 2)
        except ValueError as error:
            return str(error)
        return ""

    for sentence in run_ranks(2, open_it):
        assert "the ranks' training sets differ: rank 0 sees 42 images of 6 identities, rank 1 sees 18" in sentence


def _in_a_fork(loader: RecordLoader, answers: Any) -> None:
    try:
        next(iter(loader))
    except ValueError as error:
        answers.put(str(error))
    loader.close()
    del loader
    gc.collect()


def test_a_fork_is_refused_in_one_sentence_and_ends(faces: pathlib.Path) -> None:
    loader = RecordLoader(faces, 7)
    take(loader, 1)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_a_fork, args=(loader, answers))
    child.start()
    assert re.match(
        rf"the loader belongs to process {os.getpid()}, and this is a fork of it, which has none of its threads",
        answers.get(timeout=20),
    )
    child.join(timeout=20)
    assert child.exitcode == 0
    assert len(list(loader)) == 5


def test_a_loader_that_is_closed_ends_at_once(faces: pathlib.Path) -> None:
    loader = RecordLoader(faces, 7, prefetch=50)
    take(loader, 1)
    begin = time.monotonic()
    loader.close()
    loader.close()
    with pytest.raises(RuntimeError, match="^the loader is closed$"):
        next(iter(loader))
    assert time.monotonic() - begin < 5


def test_a_loader_may_be_closed_by_another_thread(faces: pathlib.Path) -> None:
    loader = RecordLoader(faces, 1, prefetch=2)
    closer = threading.Timer(0.2, loader.close)
    closer.start()
    with pytest.raises(RuntimeError, match="the loader is closed"):
        take(loader, 10**6)
    closer.join()


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "del loader", "import gc; loader.me = loader; del loader"])
def test_a_program_ends_while_batches_are_decoded(faces: pathlib.Path, end: str) -> None:
    program = f"import partial_fc\nloader = partial_fc.RecordLoader({str(faces)!r}, 7)\nnext(iter(loader))\n{end}\n"
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_the_page_of_help_names_every_augmentation() -> None:
    text = RecordLoader.__doc__ or ""
    for name in _native.augmentations():
        assert f'"{name}"' in text


# Images one by one


def test_a_dataset_has_the_images_of_the_set(faces: pathlib.Path) -> None:
    dataset = RecordDataset(faces)
    assert len(dataset) == PEOPLE * IMAGES and dataset.num_classes == PEOPLE
    image, label = dataset[0]
    assert image.dtype == torch.uint8 and image.shape == (112, 112, 3) and label == 0
    assert dataset.labels.tolist() == [dataset[i][1] for i in range(len(dataset))]
    assert dataset[-1][0].equal(dataset[len(dataset) - 1][0])
    for wrong in (len(dataset), -len(dataset) - 1):
        with pytest.raises(IndexError, match="image .* of 42"):
            dataset[wrong]
    images = {bytes(dataset[i][0].numpy()) for i in range(len(dataset))}
    loaded = take(RecordLoader(faces, 7, dtype=torch.uint8, mirror=False), 6)
    assert {bytes(image.numpy()) for batch, _ in loaded for image in batch} == images


def mean_of(image: torch.Tensor) -> float:
    return float(image.float().mean())


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_data_loader_read_it(faces: pathlib.Path, start: str) -> None:
    dataset = RecordDataset(faces, mean_of)
    loader = torch.utils.data.DataLoader(dataset, 7, num_workers=2, multiprocessing_context=start)
    assert [float(mean) for batch, _ in loader for mean in batch] == [dataset[i][0] for i in range(len(dataset))]


def test_a_pickled_dataset_has_the_same_images(broken: pathlib.Path) -> None:
    dataset = RecordDataset(broken, min_images=2)
    before = pickle.dumps(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        list(RecordLoader(broken, 7, max_corrupt_share=1.0))  # notes the broken image
        assert len(RecordDataset(broken)) == len(dataset) - 1
    assert len(pickle.loads(before)) == len(dataset)


@pytest.fixture(autouse=True)
def no_unexpected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=RuntimeWarning)
        yield
