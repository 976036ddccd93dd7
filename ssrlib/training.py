"""Training: the loop that follows a recipe, and chains of such loops."""

import copy
import ctypes
import hashlib
import math
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR
from torch.optim.swa_utils import AveragedModel, update_bn
from tqdm.auto import tqdm

from ssrlib import checkpoint, files, processes, weights
from ssrlib.augment import Changes, change, draw_changes, sent
from ssrlib.cards import Card
from ssrlib.inference import predict
from ssrlib.metrics import best_epoch, errors_by_age, score
from ssrlib.network import FaceNetwork, SSRNet
from ssrlib.recipe import AUGMENTATIONS, LOSSES, Loss, Recipe
from ssrlib.store import FaceStore
from ssrlib.targets import AGE, TARGETS, Target, log_odds, target_of

BATCH_NORM_FACES = 2048
SAVE_EVERY = 60.0
# How many steps a GPU works through before the CPU asks it for their losses, and waits.
STEPS_UNASKED = 16
# Errors of PyTorch's compiler, by name or first words, and what to do. Triton is what it asks for GPUs.
NOT_COMPILED = {
    "InvalidCxxCompiler": "no working C++ compiler is here: install one, or ",
    "Failed to find C compiler": "no C compiler is here: install one, or ",
    "TritonMissing": "no working Triton is here: install it, or ",
    "GPUTooOldForTriton": "Triton does not know so old a GPU: ",
}


class Progress(NamedTuple):
    """What `fit` tells its watcher after a step.

    `step` runs from 1 to `steps`; `faces` is how many were learned from since the last time; `loss` is this
    step's; `history` has a dict per epoch so far, and `by_age` is `metrics.errors_by_age` at the last
    validation; `folder` is the run's, if it has one.
    """

    step: int
    steps: int
    faces: int
    loss: float
    history: list[dict[str, Any]]
    by_age: list[dict[str, Any]]
    folder: Path | None = None


class WakingReLU(nn.ReLU):
    """A ReLU that can wake up: where it is 0, a gradient that would raise it still passes in training.

    The heads multiply ReLUs of three bins. With plain ones whole stages die in the first epochs, since
    the gradient of a ReLU that is 0 for every face is 0. The values are a ReLU's.

    >>> x = torch.tensor([-1.0, -1.0, 1.0], requires_grad=True)
    >>> (WakingReLU()(x) * torch.tensor([-3.0, 3.0, 3.0])).sum().backward()
    >>> x.grad
    tensor([-3.,  0.,  3.])
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        awake: Tensor = _Waking.apply(x)  # type: ignore[no-untyped-call]
        return awake


class _Waking(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where((x > 0) | (gradient < 0), gradient, 0)


def _set_waking(network: SSRNet, waking: bool) -> None:
    """Let the heads' ReLUs wake up or not, whatever an earlier training has made of them."""
    for head in network.fusions:
        for layers in (head.mix1, head.mix2, head.hidden, head.p):
            if isinstance(layers[-1], nn.ReLU):
                layers[-1] = WakingReLU() if waking else nn.ReLU()


def new_network(recipe: Recipe, **settings: Any) -> SSRNet:
    """Return an untrained network for the recipe's target, the same for the same seed.

    For a waking recipe the heads start awake: p at one bin's share, and what is multiplied at 1.
    Other `settings` of `SSRNet`, such as its bins, may be given.
    """
    torch.manual_seed(recipe.seed)
    target = TARGETS[recipe.target]
    network = SSRNet(target.value_range, dropout=recipe.dropout, target=target.name, **settings)
    if recipe.waking:
        for head, bins in zip(network.fusions, network.settings["bins"], strict=True):
            nn.init.constant_(head.p[0].bias, 1 / bins)
            nn.init.ones_(head.mix1[1].bias)
            nn.init.ones_(head.mix2[1].bias)
    return network


def start_from(path: str | Path, recipe: Recipe) -> SSRNet:
    """Return a network with the weights of a file, to be trained by a recipe, also for another target.

    The formula's value range is only a factor, so what a network learned about age starts gender well. The
    file's terms stay with the network: `fit` and `weights.save` write them into its card.

    >>> network = start_from(weights.PRETRAINED / "age.safetensors", Recipe.best("gender"))
    >>> network.settings["value_range"]
    1.0
    """
    network = weights.load(path)
    target = TARGETS[recipe.target]
    network.settings |= {"value_range": target.value_range, "target": target.name}
    _drop_out(network, recipe.dropout)
    return network


def _drop_out(network: FaceNetwork, share: float) -> None:
    """Set the dropout of a network that has it."""
    if "dropout" in network.settings:
        network.settings["dropout"] = float(share)
        for layer in network.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = share


def new_optimizer(network: FaceNetwork, recipe: Recipe) -> Optimizer:
    """Return AdamW over a network's parameters, its weight decay on the convolutions' kernels only.

    It is fused: one operation changes all the tensors, in place of a dozen for each.
    """
    kernels = [weight for weight in network.parameters() if weight.ndim == 4]
    rest = [weight for weight in network.parameters() if weight.ndim != 4]
    groups: list[dict[str, Any]] = [{"params": kernels}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)


def new_schedule(optimizer: Optimizer, recipe: Recipe, rate: float, epochs: int, steps: int) -> LRScheduler:
    """Return the recipe's schedule for one of its phases, and set the optimizer to its beginning.

    Args:
        optimizer: from `new_optimizer`.
        recipe: names the schedule.
        rate: its peak.
        epochs: how many the phase has.
        steps: how many an epoch has.

    >>> recipe = Recipe.paper()
    >>> optimizer = new_optimizer(new_network(recipe), recipe)
    >>> new_schedule(optimizer, recipe, 0.001, epochs=90, steps=2).get_last_lr()
    [0.001, 0.001]
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    if recipe.schedule == "step":
        return StepLR(optimizer, 30 * steps, 0.1)
    return OneCycleLR(optimizer, rate, total_steps=epochs * steps)


def fit(
    network: FaceNetwork,
    store: FaceStore,
    recipe: Recipe = Recipe(),
    folder: str | Path | None = None,
    watch: Callable[[Progress], object] | None = None,
    teachers: Sequence[FaceNetwork] = (),
    loss: Loss | None = None,
) -> pd.DataFrame:
    """Train a network in place on a store's train split; it ends with its best epoch's weights.

    After each epoch the network meets the validation split. The best epoch is the one with the
    lowest mean absolute error there, for gender the highest accuracy. The test split is never read.

    With a folder, the state is saved there every minute, after every epoch, and before Ctrl-C, SIGTERM or
    SIGHUP does what it does. A run that was stopped at any moment goes on when it is started again the same
    way, and ends with the same weights: bit for bit on the same machine's CPU; on a GPU, up to the order in
    which it adds, and in float16 the scale of losses begins anew. A run that was finished is not run again.
    Of the last two states one is always whole.

    Started with `torchrun`, the processes share each batch and its statistics, so that they learn what one
    process would. A run may go on with another number of them.

    Args:
        network: trained in place; left in inference mode. The recipe decides about its dropout, and whether
            its heads' ReLUs wake up.
        store: the faces.
        recipe: how to train.
        folder: where `checkpoint.pt`, `best.safetensors` and `history.csv` are kept up to date, if anywhere.
        watch: called after each step, on a GPU after every 16th; what it returns, if true, ends training
            after this step. By default a progress bar.
        teachers: trained networks of the same target, of any size. They look at each batch as the network
            sees it, changed as it is, and it learns the mean of their mean answer and the label. A network
            can learn from others' answers what labels alone do not tell: which faces are hard, and which
            labels are likely to be wrong (Hinton, 2015); it must see what they see (Beyer, 2022).
        loss: from the network's outputs in training and the labels to one number; by default the recipe's.

    Returns:
        One row per epoch: `epoch`, `loss` (on augmented train faces), and on validation `mae`, and
        `ca5` (age) or `accuracy` (gender).

    Raises:
        ValueError: the store lacks train or validation faces with a known label; the network or a teacher
            reads something else; the processes cannot share a batch alike; the loss or an answer stopped
            being a number, or the head died; or the folder holds another run.
        OSError: another process trains in the folder, or it could not be written in the end; or the network
            cannot be compiled here.
    """
    keep_memory()
    fabric = processes.fabric_here(recipe.precision)
    target = TARGETS[recipe.target]
    rows, truth = _labeled(store, "train", target)
    validation_rows, validation_truth = _labeled(store, "validation", target)
    validation_faces = store.faces[validation_rows]
    _check_fit(network, recipe, len(rows), teachers, fabric.world_size)
    steps = len(rows) // recipe.batch_size

    _set_up(network, recipe, teachers)
    if fabric.world_size > 1:
        processes.share_statistics(network)
    job = checkpoint.job(network, store, asdict(recipe), teachers, loss)
    loss = loss or partial(LOSSES[recipe.loss], value_range=target.value_range)
    optimizer = new_optimizer(network, recipe)
    schedule = new_schedule(optimizer, recipe, recipe.learning_rate, recipe.epochs, steps)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained: Any = torch.compile(network) if recipe.compile else network
    model, stepper = fabric.setup(trained, optimizer)
    crowd = _crowd(fabric, teachers, target, recipe) if teachers else None
    average = AveragedModel(network)
    averaged = average.module
    assert isinstance(averaged, FaceNetwork)
    parts = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    read, labels = _reader(store, rows, fabric.device), fabric.to_device(torch.from_numpy(truth))
    # The averaged weights need batch norm statistics of their own, from faces as they are. A store's
    # faces can lie in the order of their ages, so these are drawn.
    shares = _shares(store.rows.iloc[rows]) if recipe.balanced else torch.ones(len(rows))
    still = _order(shares, recipe.seed, epoch=-1)[:BATCH_NORM_FACES].split(recipe.batch_size)
    watch = watch or progress_bar()
    saved = time.monotonic()
    unasked: list[Tensor] = []

    place = Path(folder) if folder and fabric.is_global_zero else None
    with files.alone(place) if place else nullcontext(), checkpoint.signals_kept() as signals:
        if place:
            with files.naming(place):  # before an hour is spent
                place.mkdir(parents=True, exist_ok=True)
        run = checkpoint.resume(folder, job, parts, fabric)
        if place:  # somebody may have removed what was written
            _publish(place, job, network, run, store, recipe)
        for batch in _batches(shares, recipe, run.step):
            if run.step == recipe.epochs * steps:
                schedule = _begin_second_phase(network, average, optimizer, recipe, steps, run)
                parts["schedule"] = schedule
            network.train()
            changes = _changes(recipe, run.step, fabric)
            batch = batch[fabric.global_rank :: fabric.world_size]
            answers = labels[sent(batch, fabric.device)]
            with _compiling():
                unasked.append(_step(fabric, model, stepper, read(batch), changes, answers, loss, crowd))
            schedule.step()
            _update_average(average, network, recipe.ema)
            run.step += 1
            epoch_ends = run.step % steps == 0
            if fabric.device.type != "cpu" and run.step % STEPS_UNASKED and not epoch_ends:
                continue
            lost = _collect(unasked, fabric, run)
            if epoch_ends:
                update_bn((read(part) for part in still), averaged)
                values = predict(averaged, validation_faces)
                _end_epoch(run, steps, values, validation_truth, target, averaged)
            faces, all_steps = len(lost) * recipe.batch_size, recipe.all_epochs * steps
            progress = Progress(run.step, all_steps, faces, lost[-1], run.history, run.by_age, place)
            stop = processes.agreed(fabric, bool(fabric.is_global_zero and watch(progress)) or bool(signals))
            if epoch_ends or stop or time.monotonic() - saved > SAVE_EVERY:
                if place:
                    needed = stop or progress.step == progress.steps
                    _keep(place, job, parts, run, store, recipe, needed)
                saved = time.monotonic()
            if stop:
                break

    fabric.barrier()  # no process reads what the first one has not written
    if run.best:
        network.load_state_dict(run.best["weights"])
    network.eval()
    return pd.DataFrame(run.history)


def chain(
    stores: Sequence[FaceStore],
    recipe: Recipe = Recipe(),
    folder: str | Path = "runs/chain",
    later: Recipe | None = None,
    watch: Callable[[Progress], object] | None = None,
) -> list[pd.DataFrame]:
    """Train on the first store, then fine-tune along the rest (paper, section 4: IMDB, WIKI, MORPH2).

    Each step starts from the best weights of the one before and keeps its files in a folder of its own,
    `FOLDER/1-NAME` and so on. Stopped at any moment, the same call goes on.

    Args:
        stores: in the order of training.
        recipe: for the first store.
        folder: where each step's folder goes.
        later: for the other stores; by default the same with a quarter of the learning rate.
        watch: see `fit`.

    Returns:
        Each step's history, as `fit` returns it. The last step's weights are in its folder.

    Raises:
        ValueError, OSError: see `fit`.
    """
    later = later or replace(recipe, learning_rate=recipe.learning_rate / 4)
    for number, store in enumerate(stores):  # before hours are spent on the first
        for split in ("train", "validation"):
            _labeled(store, split, TARGETS[(later if number else recipe).target])
    histories, start = [], None
    for number, store in enumerate(stores, start=1):
        network, step = (start_from(start, later), later) if start else (new_network(recipe), recipe)
        place = Path(folder) / f"{number}-{store.path.name}"
        histories.append(fit(network, store, step, place, watch))
        if start:
            note_start(place / "best.safetensors", start)
        if len(histories[-1]) < step.all_epochs:  # the watcher ended it
            break
        start = place / "best.safetensors"
    return histories


def note_start(path: Path, start: str | Path) -> None:
    """Write into the card of weights what they went on from.

    Of `torchrun`'s processes, the first one writes it.
    """
    if os.environ.get("RANK", "0") != "0" or not path.is_file():
        return
    known, card = weights.read_card(start), weights.read_card(path)
    card["start"] = weights.weights_sha256(start)
    if "terms" in known:
        card.setdefault("terms", known["terms"])
    weights.write_card(path, card)


def progress_bar() -> Callable[[Progress], None]:
    """Return a watcher for `fit` that shows a bar with the time left and the last epoch's metrics."""
    bar = None

    def show(progress: Progress) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=progress.steps, initial=progress.step - 1, unit="step", desc="train")
        if progress.history:
            last = {name: f"{value:.4g}" for name, value in progress.history[-1].items()}
            bar.set_postfix(last, refresh=False)
        bar.update(progress.step - bar.n)
        if progress.step == progress.steps:
            bar.close()
            bar = None

    return show


def tensorboard(folder: str | Path) -> Callable[[Progress], None]:
    """Return a watcher for `fit` or `chain` that writes what TensorBoard shows.

    Each run's curves go to the run's own folder, or if it has none, to `folder`.

    Raises:
        ImportError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("TensorBoard is missing: pip install 'ssrlib[tensorboard]'") from error
    writers, epochs = {}, Counter[Path]()

    def log(progress: Progress) -> None:
        place = progress.folder or Path(folder)
        if place not in writers:  # not before there is a step: another run may be there
            writers[place] = SummaryWriter(place)
        writer = writers[place]
        writer.add_scalar("train/loss of a step", progress.loss, progress.step)
        if len(progress.history) > epochs[place]:
            epochs[place] = len(progress.history)
            for name, value in progress.history[-1].items():
                writer.add_scalar(f"epoch/{name}", value, progress.step)
            writer.flush()

    return log


def fast() -> dict[str, Any]:
    """Return what should make a `Recipe` fast here: 16 bits and a compiled network.

    A CPU gets each where it was measured to help. One without bfloat16 computes it several times slower than
    32 bits. In 32 bits a CPU gained a quarter by compiling, and in bfloat16 one lost a fifth (the book's
    chapter "On a GPU"). On GPUs neither was measured: they get bfloat16, which needs no scaling of losses, or
    float16 if they lack it, and a compiled network if Triton is here and knows the GPU.

    >>> sorted(fast())
    ['compile', 'precision']
    """
    if torch.cuda.is_available():
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
        compiles = torch.cuda.get_device_capability() >= (7, 0) and find_spec("triton") is not None
        return {"precision": "bf16-mixed" if has_it else "16-mixed", "compile": compiles}
    if torch.backends.mps.is_available():
        return {"precision": "bf16-mixed", "compile": True}
    # What PyTorch's own compiler asks.
    has_it = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return {"precision": "bf16-mixed" if has_it else "32-true", "compile": not has_it}


def keep_memory() -> None:
    """Let the process keep what it frees, where the C library is glibc.

    Each step allocates the same large tensors. By default they are handed back to the system and fetched
    again page by page. What that costs depends on the machine: the chapter "On a GPU" measures it.

    >>> keep_memory()
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        library.mallopt(mmap_threshold, 1 << 30)
        library.mallopt(trim_threshold, 1 << 30)


@contextmanager
def _compiling() -> Iterator[None]:
    """Say in one sentence what is missing to compile; PyTorch says so at the first step, at length."""
    try:
        yield
    except RuntimeError as error:
        # It comes wrapped in other errors of PyTorch's, which tell its name.
        said = f"{type(error).__name__} {error}"
        for name, reason in NOT_COMPILED.items():
            if name in said:
                raise OSError(
                    f"the network cannot be compiled, for {reason}train without --fast, "
                    "with Recipe(compile=False)"
                ) from error
        raise


def _check_fit(
    network: FaceNetwork, recipe: Recipe, faces: int, teachers: Sequence[FaceNetwork], processes: int
) -> None:
    if (read := target_of(network).name) != recipe.target:
        raise ValueError(
            f"the network reads {read}, and the recipe's target is {recipe.target}; "
            "training.new_network and training.start_from make one that fits a recipe"
        )
    for number, teacher in enumerate(teachers, start=1):
        if (taught := target_of(teacher).name) != recipe.target:
            raise ValueError(f"teacher {number} reads {taught}, not {recipe.target}")
    if faces < recipe.batch_size:
        raise ValueError(
            f"{faces} train faces do not fill a batch of {recipe.batch_size}; "
            "give a smaller batch size (--batch-size)"
        )
    if recipe.batch_size % processes:
        raise ValueError(
            f"{processes} processes cannot share {recipe.batch_size} faces alike: "
            "choose a batch size that they divide"
        )


def _set_up(network: FaceNetwork, recipe: Recipe, teachers: Sequence[FaceNetwork]) -> None:
    """Make a network what its recipe asks for, whatever it was; its teachers' terms become its own."""
    _drop_out(network, recipe.dropout)
    if isinstance(network, SSRNet):
        _set_waking(network, recipe.waking)
    for teacher in teachers:
        if teacher.terms not in network.terms:
            network.terms = f"{network.terms} {teacher.terms}".strip()


def _begin_second_phase(
    network: FaceNetwork,
    average: AveragedModel,
    optimizer: Optimizer,
    recipe: Recipe,
    steps: int,
    run: checkpoint.Run,
) -> LRScheduler:
    """Go back to the best weights, and forget how they were reached; return the new schedule."""
    assert run.best
    network.load_state_dict(run.best["weights"])
    average.n_averaged.zero_()
    optimizer.state.clear()
    return new_schedule(optimizer, recipe, recipe.learning_rate / 2, recipe.second_epochs, steps)


@torch.no_grad()
def _update_average(average: AveragedModel, network: nn.Module, keep: float) -> None:
    """Average weights and forget the first, bad ones fast: early on over a tenth of the steps so far.

    `AveragedModel` would copy its count of steps to the GPU each time, and wait for it.
    """
    steps = int(average.n_averaged)
    mine: list[Tensor] = list(average.module.parameters())
    new: list[Tensor] = list(network.parameters())
    if steps:
        torch._foreach_lerp_(mine, new, max(1 - keep, 10 / (10 + steps)))
    else:
        torch._foreach_copy_(mine, new)
    for kept, buffer in zip(average.module.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)
    average.n_averaged += 1


def _order(shares: Tensor, seed: int, epoch: int, balanced: bool = False) -> Tensor:
    """The faces' order in an epoch depends on nothing else: a resumed run finds the same.

    Each comes once; or if balanced, as many are drawn as there are, each by its share.
    """
    generator = torch.Generator().manual_seed(_mixed(seed, epoch))
    if balanced:
        return torch.multinomial(shares, len(shares), replacement=True, generator=generator)
    return torch.randperm(len(shares), generator=generator)


def _shares(rows: pd.DataFrame) -> Tensor:
    """How often to draw each face: by the root of how many come from its source and decade of age."""
    kinds = rows["source"].astype(str) + " " + (rows["age"] // 10).astype(str)
    return torch.from_numpy(kinds.map(kinds.value_counts()).to_numpy(np.float32) ** -0.5)


def _mixed(*numbers: int) -> int:
    """A seed from several numbers, far from the seed of their neighbors."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7])


def _batches(shares: Tensor, recipe: Recipe, start: int) -> Iterator[Tensor]:
    """The faces of each step, from step number `start` to the last."""
    steps = len(shares) // recipe.batch_size
    for epoch in range(start // steps, recipe.all_epochs):
        order = _order(shares, recipe.seed, epoch, recipe.balanced)[: steps * recipe.batch_size]
        yield from order.split(recipe.batch_size)[max(0, start - epoch * steps) :]


def _changes(recipe: Recipe, step: int, fabric: Fabric) -> Changes | None:
    """This process's part of the random changes of a step's faces: the same however many share them.

    What is random after them, such as dropout, is each process's own.
    """
    torch.manual_seed(_mixed(recipe.seed, step, 0))
    augmentation = AUGMENTATIONS[recipe.augmentation]
    drawn = augmentation and draw_changes(recipe.batch_size, torch.default_generator, **augmentation)
    if fabric.global_rank:
        torch.manual_seed(_mixed(recipe.seed, step, fabric.global_rank))
    return Changes(*(part[fabric.global_rank :: fabric.world_size] for part in drawn)) if drawn else None


def _step(
    fabric: Fabric,
    model: nn.Module,
    optimizer: Optimizer,
    faces: Tensor,
    changes: Changes | None,
    truth: Tensor,
    loss: Loss,
    crowd: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    faces = change(faces, changes) if changes else faces.float()
    faces = faces.contiguous(memory_format=torch.channels_last)
    if crowd:
        truth = (truth + crowd(faces)) / 2
    lost = loss(model(faces), truth)
    optimizer.zero_grad()
    fabric.backward(lost)
    optimizer.step()
    return lost.detach()


def _collect(unasked: list[Tensor], fabric: Fabric, run: checkpoint.Run) -> list[float]:
    """The losses of the steps since the last time, all processes' means. A GPU is waited for here."""
    mean: Any = fabric.all_reduce(torch.stack(unasked), reduce_op="mean")
    lost: list[float] = mean.tolist()
    unasked.clear()
    run.total += sum(lost)
    if not math.isfinite(run.total):
        raise ValueError(f"step {run.step}: the loss is no longer a number; {checkpoint.ADVICE}")
    return lost


def _end_epoch(
    run: checkpoint.Run,
    steps: int,
    values: np.ndarray,
    truth: np.ndarray,
    target: Target,
    network: FaceNetwork,
) -> None:
    """Note an epoch's metrics on validation, and its weights if they are the best so far."""
    epoch = run.step // steps
    if not np.isfinite(values).all():
        raise ValueError(f"step {run.step}: answers are no longer numbers; {checkpoint.ADVICE}")
    if len(values) > 1 and np.ptp(values) == 0:
        raise ValueError(
            f"epoch {epoch}: the head is dead: every face gets {values[0]:.2f}; {checkpoint.ADVICE}"
        )
    measured = score(values, truth, target)
    run.history.append({"epoch": epoch, "loss": run.total / steps} | measured)
    run.by_age = errors_by_age(values, truth) if target is AGE else []
    run.total = 0.0
    if best_epoch(pd.DataFrame(run.history), target) == epoch:
        best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        run.best = {"epoch": epoch, "weights": best}


def _keep(
    folder: Path,
    job: checkpoint.Job,
    parts: dict[str, Any],
    run: checkpoint.Run,
    store: FaceStore,
    recipe: Recipe,
    needed: bool,
) -> None:
    """Write all that a run has. A full disk ends it only when that is needed: there may be room later."""
    try:
        _publish(folder, job, parts["network"], run, store, recipe)
        checkpoint.save(folder, job, parts, run)
    except OSError as error:
        if needed:
            raise
        warnings.warn(f"{error}; training goes on", stacklevel=3)


def _publish(
    folder: Path,
    job: checkpoint.Job,
    network: FaceNetwork,
    run: checkpoint.Run,
    store: FaceStore,
    recipe: Recipe,
) -> None:
    """Once an epoch has ended, write a table of all, and the best weights if they are not written yet."""
    history, best = run.history, run.best
    if not best:
        return
    with files.atomic_write(folder / "history.csv") as partial:
        pd.DataFrame(history).to_csv(partial, index=False)
    if run.published != best["epoch"] or not (folder / "best.safetensors").is_file():
        network = copy.deepcopy(network)
        network.load_state_dict(best["weights"])
        metrics = history[best["epoch"] - 1].items()
        measured = {name: value for name, value in metrics if name not in ("epoch", "loss")}
        card: Card = {"crop": store.info["crop"], "recipe": asdict(recipe)}
        if "joined" in store.info:
            card["joined"] = store.info["joined"]
        if job["teachers"] != "none":
            card["teachers"] = job["teachers"]
        card |= {"epoch": best["epoch"], "validation": measured}
        weights.save(network, folder / "best.safetensors", card)
        run.published = best["epoch"]


def _reader(store: FaceStore, rows: np.ndarray, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return how to get a batch of a store's faces: from the device's memory if they fit, else streamed."""
    if device.type == "cuda" and len(rows) * store.faces[0].nbytes < torch.cuda.mem_get_info()[0] / 2:
        kept = torch.from_numpy(store.faces[rows]).to(device)
        return lambda batch: kept[sent(batch, device)].permute(0, 3, 1, 2)
    return lambda batch: sent(torch.from_numpy(store.faces[rows[batch.numpy()]]), device).permute(0, 3, 1, 2)


def _crowd(
    fabric: Fabric, teachers: Sequence[FaceNetwork], target: Target, recipe: Recipe
) -> Callable[[Tensor], Tensor]:
    """What several networks say about a batch, on the labels' scale: their mean answer."""
    ready = [
        copy.deepcopy(teacher).eval().to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for teacher in teachers
    ]
    asked = [torch.compile(teacher) if recipe.compile else teacher for teacher in ready]

    @torch.no_grad()
    def answer(faces: Tensor) -> Tensor:
        with fabric.autocast():
            mean = torch.stack([teacher(faces).float() for teacher in asked]).mean(dim=0)
        return torch.sigmoid(log_odds(mean)) if target.classes else mean

    return answer


def _labeled(store: FaceStore, split: str, target: Target) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of one split's rows whose target is known, and their targets."""
    places = store.places(split)
    truth = target.labels(store.rows)
    chosen = places[~np.isnan(truth[places])]
    if not len(chosen):
        raise ValueError(f"{store.path}: no face of the {split} split has a known {target.name}")
    return chosen, truth[chosen]
