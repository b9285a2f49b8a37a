"""Runs a function on several ranks, each a process, joined by gloo."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import queue
import tempfile
import time
import traceback
from typing import Any, Callable, List

import torch.distributed as dist


class RankFailed(Exception):
    """A rank raised; the text is its traceback."""


def _rank(
    function: Callable[..., Any], rank: int, world: int, store: str, timeout: float, results: Any, args: Any
) -> None:
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{store}",
            rank=rank,
            world_size=world,
            timeout=datetime.timedelta(seconds=timeout),
        )
        results.put((rank, function(rank, world, *args), None))
        results.close()
        results.join_thread()
    except BaseException:
        results.put((rank, None, traceback.format_exc()))
        results.close()
        results.join_thread()
    os._exit(0)  # a rank that failed must not wait for the others in the group's destructor


def run_ranks(
    world: int, function: Callable[..., Any], *args: Any, timeout: float = 60, survivors: int = -1
) -> List[Any]:
    """What `function(rank, world, *args)` returns on each rank: picklable values, tensors as NumPy's.

    `survivors`: how many ranks answer, where others end on purpose.
    """
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(
                target=_rank,
                args=(function, rank, world, os.path.join(folder, "store"), timeout, results, args),
                daemon=True,
            )
            for rank in range(world)
        ]
        for process in processes:
            process.start()
        found = {}
        end = time.monotonic() + 2 * timeout
        try:
            while len(found) < (world if survivors < 0 else survivors):
                try:
                    rank, value, error = results.get(timeout=max(0.1, end - time.monotonic()))
                except queue.Empty:
                    raise RankFailed(f"ranks {sorted(set(range(world)) - set(found))} hang") from None
                if error is not None:
                    raise RankFailed(error)
                found[rank] = value
        finally:
            for process in processes:
                process.join(timeout=5)
                if process.is_alive():
                    process.kill()
    return [found.get(rank) for rank in range(world)]
