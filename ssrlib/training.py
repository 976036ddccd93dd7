"""Training: a recipe, and the loop that follows it."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn
from tqdm.auto import tqdm

from ssrlib import weights
from ssrlib.augment import augment
from ssrlib.evaluation import predict, score, targets
from ssrlib.network import SSRNet
from ssrlib.store import FaceStore

BATCH_NORM_FACES = 2048
VALUE_RANGES = {"age": 101.0, "gender": 1.0}


@dataclass(frozen=True)
class Recipe:
    """How to train: what to read from a face, how long, and how fast.

    Attributes:
        target: "age" or "gender".
        epochs: passes over the training faces.
        batch_size: faces in one step.
        learning_rate: the peak of the one-cycle schedule.
        weight_decay: AdamW's, on the convolutions' kernels only.
        dropout: see `SSRNet`.
        ema: how much of the averaged weights stays at each step; the average is what is validated
            and kept.
        seed: of the initial weights, the order of the faces, their augmentation, and dropout.
        precision: Fabric's name for the number format, such as "32-true" or "bf16-mixed".
        compile: compile the network first; pays after a few minutes, and needs a C++ compiler.
    """

    target: str = "age"
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.005
    weight_decay: float = 0.05
    dropout: float = 0.0
    ema: float = 0.998
    seed: int = 0
    precision: str = "32-true"
    compile: bool = False

    def __post_init__(self):
        if self.target not in VALUE_RANGES:
            raise ValueError(f'the target must be "age" or "gender", not {self.target!r}')
        for name in ("epochs", "batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"the recipe's {name} must be above 0, not {getattr(self, name)}")


def new_network(recipe: Recipe) -> SSRNet:
    """Return an untrained network for the recipe's target, the same for the same seed."""
    torch.manual_seed(recipe.seed)
    return SSRNet(value_range=VALUE_RANGES[recipe.target], dropout=recipe.dropout)


def fit(
    network: SSRNet, store: FaceStore, recipe: Recipe = Recipe(), folder: str | Path | None = None
) -> pd.DataFrame:
    """Train a network in place on a store's train split; it ends with its best epoch's weights.

    After each epoch the network meets the validation split. The best epoch is the one with the
    lowest mean absolute error there. The test split is never read.

    Args:
        network: trained in place; left in inference mode.
        store: the faces.
        recipe: how to train.
        folder: where `best.safetensors` and `history.csv` are kept up to date, if anywhere.

    Returns:
        One row an epoch: `epoch`, `loss` (L1 on augmented train faces), and on validation `mae`
        and `ca5` (age) or `accuracy` (gender).

    Raises:
        ValueError: the store lacks train or validation faces with a known label, or the loss
            stopped being a number.
    """
    fabric = Fabric(accelerator="auto", devices=1, precision=recipe.precision)
    faces, truth = _labelled(store, "train", recipe.target)
    validation_faces, validation_truth = _labelled(store, "validation", recipe.target)
    faces, truth = torch.from_numpy(faces).permute(0, 3, 1, 2), torch.from_numpy(truth)
    if len(faces) < recipe.batch_size:
        raise ValueError(f"{len(faces)} train faces do not fill a batch of {recipe.batch_size}")

    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    steps = len(faces) // recipe.batch_size
    kernels = [weight for weight in network.parameters() if weight.ndim == 4]
    rest = [weight for weight in network.parameters() if weight.ndim != 4]
    groups = [{"params": kernels}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.epochs * steps
    )
    network.to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(torch.compile(network) if recipe.compile else network, optimizer)
    faces, truth = fabric.to_device(faces), fabric.to_device(truth)
    average = AveragedModel(network, avg_fn=_warm_average(recipe.ema))

    # The averaged weights need batch norm statistics of their own, from faces as they are. A store's
    # faces can lie in the order of their ages, so these are drawn.
    still = torch.randperm(len(faces), generator=generator)[:BATCH_NORM_FACES].split(recipe.batch_size)

    history, best = [], None
    with tqdm(total=recipe.epochs * steps, unit="step", desc=f"train {recipe.target}") as bar:
        for epoch in range(1, recipe.epochs + 1):
            network.train()
            total = 0.0
            order = torch.randperm(len(faces), generator=generator)[: steps * recipe.batch_size]
            for batch in order.split(recipe.batch_size):
                loss = _step(fabric, model, optimizer, augment(faces[batch], generator), truth[batch])
                average.update_parameters(network)
                schedule.step()
                total += loss
                bar.update()
            if not np.isfinite(total):
                raise ValueError(f"epoch {epoch}: the loss is no longer a number; lower the learning rate")
            update_bn((faces[batch] for batch in still), average.module)
            figures = score(predict(average.module, validation_faces), validation_truth, recipe.target)
            history.append({"epoch": epoch, "loss": total / steps} | figures)
            bar.set_postfix(epoch=epoch, **{name: f"{value:.3f}" for name, value in figures.items()})
            if best is None or figures["mae"] < best[0]:
                best = figures["mae"], {name: t.clone() for name, t in average.module.state_dict().items()}
                if folder:
                    card = {"crop": store.info["crop"], "recipe": asdict(recipe)}
                    card |= {"epoch": epoch, "validation": figures}
                    weights.save(average.module, Path(folder) / "best.safetensors", card)
            if folder:
                pd.DataFrame(history).to_csv(Path(folder) / "history.csv", index=False)
    network.load_state_dict(best[1])
    network.eval()
    return pd.DataFrame(history)


def _warm_average(keep: float):
    """An average that forgets the first, bad weights fast: early on it spans a tenth of the steps so far."""
    return lambda average, new, steps: average + (new - average) * max(1 - keep, 10 / (10 + steps))


def _step(fabric: Fabric, model: nn.Module, optimizer, faces: Tensor, truth: Tensor) -> float:
    faces = faces.contiguous(memory_format=torch.channels_last)
    loss = (model(faces) - truth).abs().mean()
    optimizer.zero_grad()
    fabric.backward(loss)
    optimizer.step()
    return loss.item()


def _labelled(store: FaceStore, split: str, target: str) -> tuple[np.ndarray, np.ndarray]:
    """One split's faces and targets, without the faces whose target is unknown."""
    faces, rows = store.split(split)
    truth = targets(rows, target)
    known = ~np.isnan(truth)
    if not known.any():
        raise ValueError(f"{store.path}: no face of the {split} split has a known {target}")
    return faces[known], truth[known]
