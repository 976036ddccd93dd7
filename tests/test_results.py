import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ssrlib import results, weights

from .conftest import POSIX

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is missing")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A committed package, and a script that imports another: git is asked about these, not about ours."""
    scripts = ("tools/why.py", "tools/shared.py", "tools/other.py")
    for name in ("ssrlib/network.py", "ssrlib/pretrained/age.safetensors", *scripts):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    for command in ("init", "add .", "-c user.name=A -c user.email=a@example.com commit -m first"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(results, "CHECKOUT", tmp_path.resolve())
    monkeypatch.setattr(results, "_began", "")
    monkeypatch.setattr(results, "_trial", False)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__=str(tmp_path / "tools/why.py")))
    monkeypatch.setitem(sys.modules, "shared", SimpleNamespace(__file__=str(tmp_path / "tools/shared.py")))
    monkeypatch.delenv("UNCOMMITTED", raising=False)
    return tmp_path.resolve()


def recorded(folder, **origin) -> dict:
    results.record(folder / "book" / "why.json", {"mae": 5.0}, **{"weights": ()} | origin)
    assert [path.name for path in (folder / "book").iterdir()] == ["why.json"]
    return json.loads((folder / "book" / "why.json").read_text())["origin"]


def test_a_result_says_which_weights_store_code_and_machine_made_it(checkout, drawn_store):
    path = weights.pretrained("age")
    results.check_committed()
    origin = recorded(checkout, weights=[path], stores=[drawn_store], seed=3)
    assert origin["weights"] == {"age.safetensors": weights.weights_sha256(path)}
    known = drawn_store.info["sha256"]
    checksums = {name: known[name] for name in ("faces.npy", "rows.parquet")}
    assert origin["store"] == {"drawn": checksums}
    both = recorded(checkout, weights=[path], stores=[drawn_store, drawn_store])
    assert both["store"] == {"1 drawn": checksums, "2 drawn": checksums}
    path = weights.save(weights.load(path), checkout / "runs" / "age" / "age.safetensors")
    two = recorded(checkout, weights=[weights.pretrained("gender"), weights.pretrained("age"), path])
    assert list(two["weights"]) == ["gender.safetensors", "2 age.safetensors", "3 age.safetensors"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True).stdout
    assert head.startswith(origin["commit"])
    assert len(origin["commit"]) >= 7
    assert results.processor() in origin["machine"]
    assert origin["seed"] == 3
    assert "uncommitted" not in origin
    assert recorded(checkout)["weights"] == {}


def test_a_trial_leaves_the_published_result_as_it_is(checkout, capsys):
    published = recorded(checkout)
    (checkout / "tools" / "shared.py").write_text("2\n")
    results.check_committed(trial=True)
    assert recorded(checkout) == published
    assert "a trial, with less than usual: " in capsys.readouterr().out


def test_a_result_names_the_commit_that_its_script_began_with(checkout):
    results.check_committed()
    began = results.commit()
    (checkout / "tools" / "shared.py").write_text("2\n")
    (checkout / "tools" / "other.py").write_text("2\n")
    later = "-c user.name=A -c user.email=a@example.com commit -am later"
    subprocess.run(["git", *later.split()], cwd=checkout, check=True, capture_output=True)
    origin = recorded(checkout)
    assert origin["commit"] == began != results.commit()
    assert origin["uncommitted"]["files"] == ["tools/shared.py"]


def test_which_weights_cannot_be_left_unsaid(checkout):
    with pytest.raises(TypeError, match="weights"):
        results.record(checkout / "why.json", {})


@pytest.mark.parametrize("name", ["ssrlib/network.py", "ssrlib/new.py", "tools/why.py", "tools/shared.py"])
def test_uncommitted_code_is_refused_unless_somebody_says_why(checkout, monkeypatch, name):
    (checkout / name).write_text("2\n")
    with pytest.raises(SystemExit, match=f"error: {name}: not committed"):
        results.check_committed()
    assert recorded(checkout)["uncommitted"] == {"files": [name], "why": ""}
    monkeypatch.setenv("UNCOMMITTED", "a try")
    results.check_committed()
    assert recorded(checkout)["uncommitted"] == {"files": [name], "why": "a try"}


@pytest.mark.parametrize("name", ["ssrlib/pretrained/age.safetensors", "tools/other.py", "book/site.json"])
def test_changes_that_made_no_number_are_no_hindrance(checkout, name):
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text("2\n")
    results.check_committed()


def test_a_script_that_would_write_elsewhere_does_not_begin(checkout, monkeypatch):
    monkeypatch.chdir(checkout / "tools")
    with pytest.raises(SystemExit, match="no folder book/results here, where results go: run this in the"):
        results.check_committed()


def test_without_a_checkout_a_result_is_recorded_only_if_somebody_says_why(checkout, monkeypatch):
    shutil.rmtree(checkout / ".git")
    with pytest.raises(SystemExit, match="whose commit git does not tell: not committed"):
        results.check_committed()
    monkeypatch.setenv("UNCOMMITTED", "a try")
    results.check_committed()
    assert recorded(checkout)["commit"] == "unknown"


@POSIX
def test_commands_do_not_tell_where_this_machine_keeps_things(checkout, monkeypatch):
    words = [
        "-m",
        "tools.why",
        "/elsewhere/UTKFace",
        "--keras=../keras",
        f"{checkout}/data/utkface",
        f"--peer=mtcnn={checkout}/.peer/python",
        "--seed",
    ]
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", *words])
    (checkout / ".peer").mkdir()
    (checkout / ".peer" / "python").symlink_to(sys.executable)
    said = "python -m tools.why UTKFace --keras=keras data/utkface --peer=mtcnn=.peer/python --seed"
    assert recorded(checkout)["command"] == said
