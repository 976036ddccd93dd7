"""Several processes that train one network: they share each batch, and what it says about its faces."""

import os
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.distributed import all_reduce, get_world_size


def fabric_here(precision: str) -> Fabric:
    """One process on the best device here, or what `torchrun` started: it tells how many there are."""
    local, world = (int(os.environ.get(name, 1)) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    fabric = Fabric(
        devices=local,
        num_nodes=world // local,
        precision=precision,  # type: ignore[arg-type]  # Fabric checks it
        strategy="ddp" if world > 1 else "auto",
    )
    fabric.launch()
    return fabric


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm with the mean and the variance of all processes' faces, so that each sees the whole batch.

    Of a batch of 32, four processes would otherwise normalize by eight faces each. (PyTorch's own
    SyncBatchNorm does the same on GPUs only.)
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        exact = x.float()
        mean = _mean_of_all(exact.mean(dim=(0, 2, 3)))
        variance = _mean_of_all((exact - mean[:, None, None]).square().mean(dim=(0, 2, 3)))
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            keep = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
            n = x.numel() // x.shape[1] * get_world_size()
            self.running_mean.lerp_(mean, keep)
            self.running_var.lerp_(variance * n / (n - 1), keep)
        scale = self.weight * (variance + self.eps).rsqrt()
        normalized: Tensor = exact * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
        return normalized.to(x.dtype)


def _mean_of_all(x: Tensor) -> Tensor:
    total: Tensor = _SumOfAll.apply(x)  # type: ignore[no-untyped-call]
    return total / get_world_size()


class _SumOfAll(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        all_reduce(total)
        return total


def share_statistics(network: nn.Module) -> None:
    """Put a `SharedBatchNorm` in each batch norm's place."""
    for module in network.modules():
        for name, layer in module.named_children():
            if type(layer) is nn.BatchNorm2d:
                shared = SharedBatchNorm(layer.num_features, layer.eps, layer.momentum).to(
                    layer.weight.device
                )
                shared.load_state_dict(layer.state_dict())
                setattr(module, name, shared)


def agreed(fabric: Fabric, wish: bool) -> bool:
    """Whether any of the processes wishes to stop: then all do."""
    return bool(fabric.all_reduce(torch.tensor(float(wish)), reduce_op="sum"))
