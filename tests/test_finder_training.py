"""The finder's training goes on where it was stopped."""

import numpy as np
import pytest
import torch
from skimage import data

from ssrlib.finder import Finder
from ssrlib.scenes import Portrait
from tools.weights import finder as tool

LANDMARKS = np.array([[206.0, 101], [248, 101], [226, 122], [207, 141], [244, 141]])
PORTRAITS = [Portrait(data.astronaut(), LANDMARKS)]


def trained(out) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = Finder()
    tool.train(network, PORTRAITS, [data.coffee()], out)
    return network.state_dict()


@pytest.mark.slow
def test_a_stopped_run_ends_as_one_that_was_left_alone(tmp_path, monkeypatch):
    for name, value in {"STEPS": {"finder": 4}, "BATCH": 2, "SAVE_EVERY": 1, "MINED_OF": 4}.items():
        monkeypatch.setattr(tool, name, value)
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    whole = trained(tmp_path / "whole")

    save, saved = torch.save, []

    def stop_after_three(*arguments):
        save(*arguments)
        saved.append(arguments)
        if len(saved) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped")
    again = trained(tmp_path / "stopped")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_the_rate_rises_and_falls():
    rates = [tool.rate_at(step, 1000) for step in range(1001)]
    assert max(rates) == pytest.approx(tool.RATE, rel=0.01)
    assert rates.index(max(rates)) in range(20, 40)
    assert rates[0] == 0
    assert rates[-1] == pytest.approx(0)
