"""What a face costs each of the race's trunks: multiply-adds, counted, and time, measured side by side.

    python -m benchmarks.trunks

Each round times every trunk once, in inference on one face and one thread, so that a busy moment meets all;
the medians are divided by that of SSR-Net's two streams. Writes book/results/benchmark-trunks.json.
"""

from typing import Any

import numpy as np
import torch
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from ssrlib import Recipe, results
from tools.experiments.trunks import ALL, TWO_STREAMS, build

ROUNDS = 15
CALLS = 20


def multiply_adds(network: torch.nn.Module, face: torch.Tensor) -> int:
    """Multiply-adds of convolutions and matrix products for one face."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(face)
    return counter.get_total_flops() // 2


def main() -> None:
    results.check_committed()
    face = torch.zeros(1, 3, 64, 64)
    networks: dict[str, Any] = {name: build(name, Recipe())[0].eval() for name in ALL.names}
    timers = {
        name: Timer(
            "with torch.inference_mode():\n    network(face)",
            globals={"torch": torch, "network": network, "face": face},
        )
        for name, network in networks.items()
    }
    rounds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            rounds[name].append(timer.timeit(CALLS).mean)
    usual = np.median(rounds[TWO_STREAMS])
    rows: list[dict[str, Any]] = [
        {
            "network": name,
            "multiply-adds": multiply_adds(network, face),
            "ms": 1000 * float(np.median(rounds[name])),
            "times": float(np.median(rounds[name]) / usual),
        }
        for name, network in networks.items()
    ]
    for row in rows:
        print(f"{row['multiply-adds'] / 1e6:6.1f} million, {row['times']:5.2f} times: {row['network']}")
    results.record("book/results/benchmark-trunks.json", rows, weights=(), rounds=ROUNDS)


if __name__ == "__main__":
    main()
