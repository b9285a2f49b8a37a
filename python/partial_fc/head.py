"""The head of a face recogniser as a module."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple, Union

import torch
import torch.distributed as dist

from .center_shard import CenterShard, HeadSettings
from .losses import CosFace, Loss
from .optimizer import CenterOptimizer


class PartialFC(CenterShard):
    """Margin softmax over the centres of the batch's classes and of a sample of all others.

    The centres are spread over the ranks of a process group, which all make the same head and call it with batches of
    the same size. They are neither parameters nor buffers: no gradient of their size ever exists, and wrappers (DDP,
    FSDP) leave them alone. They change when the step of ``optimizer(...)`` is called.

    Parameters
    ----------
    embedding_size : int
        d, the length of an embedding.
    num_classes : int
        C, the number of identities.
    margin : Loss
        One of the losses of this package.
    scale : float
        s, what cosines are multiplied by.
    sample_rate : float or sequence of (int, float)
        r, the share of classes that a step uses, from 0 (only those of its batch) to 1 (all). With
        ``[(0, 0.1), (20_000, 0.3)]`` it is 0.1 at first, and 0.3 from the optimizer's step 20,000 on.
    sampling : {"stratified", "uniform", "blocks"}
        How they are drawn: one from each of equal strata, at random, or as "stratified" in blocks of eight classes whose
        rows lie together.
    update : {"sampled", "dense_equivalent"}
        What a step does to a centre that it does not use: nothing (as in the paper), or what SGD over all centres would
        do, namely decay and momentum. The second is for SGD.
    center_type, state_type : {"float32", "bfloat16"}
        How the centres, and the optimizer's numbers for them, are stored. bfloat16 is rounded stochastically.
    seed : int
        Of the centres' first values and of the classes that are drawn; the same on every rank.
    interclass_filter : float
        Classes with a larger cosine are left out of a sample's softmax, for sets with wrong labels; 0: off.
    gemm : {None, "bfloat16", "float16", "tf32", "float32"}
        The input type of a GPU's matrix products; None: bfloat16.
    workspace_bytes : int
        Memory to keep probabilities between forward and step.
    in_host_memory : bool
        Keep the centres in the host's memory, for a GPU that has too little. Gradients cannot accumulate then.
    process_group : torch.distributed.ProcessGroup, optional
        The ranks. Not given: the default group, or one rank where torch.distributed is not initialised.
    device : torch.device or str, optional
        Where the head computes, "cpu" or "cuda". Not given: torch's default. ``to`` and ``cuda`` move it.
    backbone_gradients : {"averaged", "summed"}
        What the training loop does with the backbone's gradients of different ranks. DDP and FSDP average them, so the
        gradient by the embeddings is multiplied by the number of ranks. "summed" leaves it as it is.

    Raises
    ------
    ValueError
        If a setting makes no sense, with what is wanted.

    Examples
    --------
    >>> head = PartialFC(512, 100_000, margin=ArcFace(0.5), sample_rate=0.1)
    >>> optimizer = head.optimizer(lr=0.1)
    >>> loss = head(backbone(images), labels)
    >>> loss.backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        margin: Loss = CosFace(0.4),
        scale: float = 64.0,
        sample_rate: Union[float, Sequence[Tuple[int, float]]] = 0.1,
        *,
        sampling: str = "stratified",
        update: str = "sampled",
        center_type: str = "float32",
        state_type: str = "float32",
        seed: int = 0,
        interclass_filter: float = 0.0,
        gemm: Optional[str] = None,
        workspace_bytes: int = 512 << 20,
        in_host_memory: bool = False,
        process_group: Optional[dist.ProcessGroup] = None,
        device: Optional[Union[torch.device, str]] = None,
        backbone_gradients: str = "averaged",
    ) -> None:
        if not isinstance(margin, Loss):
            raise ValueError(f"margin is {margin!r}, want a loss of partial_fc, such as partial_fc.CosFace(0.4)")
        if backbone_gradients not in ("averaged", "summed"):
            raise ValueError(f"backbone_gradients is {backbone_gradients!r}, want averaged or summed")
        settings = HeadSettings(
            embedding_size=embedding_size,
            num_classes=num_classes,
            margin=margin,
            scale=scale,
            sample_rate=tuple((step, rate) for step, rate in sample_rate)
            if isinstance(sample_rate, Sequence)
            else sample_rate,
            sampling=sampling,
            update=update,
            center_type=center_type,
            state_type=state_type,
            seed=seed,
            interclass_filter=interclass_filter,
            gemm=gemm,
            workspace_bytes=workspace_bytes,
            in_host_memory=in_host_memory,
            gradients_are_averaged=backbone_gradients == "averaged",
        )
        super().__init__(settings, process_group, device)

    @property
    def weight(self) -> torch.Tensor:
        """This rank's centres [num_local · K, d], the memory itself; K is 1 but for sub-centres."""
        if self.settings.update == "dense_equivalent":
            self._native.catch_up()
        return self._centers

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch.

        Parameters
        ----------
        embeddings : torch.Tensor
            [b, d] of this rank, of any float type; they need not be of unit length. b is the same on all ranks.
        labels : torch.Tensor
            [b] integers from 0 to C − 1: the samples' classes.

        Returns
        -------
        torch.Tensor
            A float32 scalar, the mean over the samples of all ranks, the same on each. It has a gradient by the
            embeddings; its backward pass is to be called once, and before the next forward pass.

        Raises
        ------
        ValueError
            On every rank, if the arguments of any rank are wrong: labels out of range, another dtype, device or shape,
            batches of different sizes.
        RuntimeError
            If a rank was lost, or if the process group was destroyed.
        """
        return self._native.forward(embeddings, labels)

    def optimizer(
        self,
        lr: float,
        *,
        kind: str = "sgd",
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        betas: Tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> CenterOptimizer:
        """Make the optimizer of the centres, SGD or AdamW as torch.optim has them.

        Parameters
        ----------
        lr : float
            The learning rate.
        kind : {"sgd", "adamw"}
            Which of them.
        momentum : float
            Of SGD; 0 keeps no state.
        weight_decay : float
            Of both; AdamW's is decoupled.
        betas, eps : (float, float), float
            Of AdamW.

        Returns
        -------
        CenterOptimizer
            A torch.optim.Optimizer. What its kind keeps for each centre begins with zeros if the head had another kind.
        """
        return CenterOptimizer(self, lr, kind, momentum, weight_decay, betas, eps)

    def extra_repr(self) -> str:
        s = self.settings
        return (
            f"embedding_size={s.embedding_size}, num_classes={s.num_classes}, margin={s.margin}, scale={s.scale}, "
            f"sample_rate={s.sample_rate}, classes {self.class_start} to {self.class_start + self.num_local - 1}"
        )
