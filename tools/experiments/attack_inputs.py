"""Does every damaged file end in an answer or in one sentence? In book/results/attack-inputs.json.

    nice python -m tools.experiments.attack_inputs --keras FOLDER_OF_THE_AUTHORS_H5_FILES

Every kind of file that the package reads is made once, cut off, and changed in a bit, in some bytes and in
the first bytes, again and again; and each time it is read. The table counts

    answered    the file was read, and nothing shows that the answer is a wrong one
    refused     one sentence that names the file
    unclear     an error meant for the user, but without the file's name, or of several lines
    wrong       another answer than the whole file's, where the damage could have been noticed:
                a cut photo, or a file with a checksum
    traceback   any other error
    crashed     the process died, or took more than a minute

The last two rows read whole folders of damaged photos with the command line: `prepare`, which must have
a face or a reject for each, and `predict`, which must answer each good photo among the bad ones. The
process ends with status 1 if anything did not hold.
"""

import argparse
import contextlib
import io
import json
import random
import signal
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.io import savemat
from tqdm.auto import tqdm
from typer.testing import CliRunner

from ssrlib import FaceStore, __main__, export, face_crop, keras, results, runtime, weights
from ssrlib.datasets import folder, imdb_wiki, synthetic, utkface
from ssrlib.inference import predict
from testing.damage import damaged, photos

OUTCOMES = ("answered", "refused", "unclear", "wrong", "traceback", "crashed")
HELD = OUTCOMES[:2]
SEVERAL = 400  # photos of each kind that the command line gets
LIMIT = 60  # seconds
TRIES = 300


class Kind(NamedTuple):
    """A kind of file: `damage` names the one that is damaged of the `files` that lie in one folder.

    Each of `ways` reads it by the path of `opens`, and returns its answer as bytes. A `sealed` file has a
    checksum, so that no damage may change the answer; of others only a cut is sure to be noticed.
    """

    files: dict[str, bytes]
    damage: str
    ways: list[Callable[[Path], bytes]]
    opens: str | None = None
    sealed: bool = False
    notices: bool = False


def _photo(path: Path, at_least: int | None = None) -> bytes:
    photo = face_crop.read_photo(path, at_least=at_least)
    assert photo.dtype == np.uint8
    assert photo.ndim == 3
    assert photo.shape[2] == 3
    assert photo.size
    return photo.tobytes() + face_crop.resize(photo).tobytes()


@cache
def _drawn() -> np.ndarray:
    return synthetic.generate(8, seed=7)[0]


def _weights(path: Path) -> bytes:
    values = predict(weights.load(path), _drawn())
    return values.tobytes() + json.dumps(weights.read_card(path)).encode()


def _keras(path: Path) -> bytes:
    return predict(keras.from_keras(path), _drawn()).tobytes()


def _exported(path: Path, opens: Callable) -> bytes:
    network = opens(path)
    return network.read(_drawn()).tobytes() + json.dumps(network[1:]).encode()


def _store(path: Path) -> bytes:
    store = FaceStore(path)
    store.verify()
    return store.faces.tobytes() + store.rows.to_csv().encode() + store.rejects.to_csv().encode()


def _metrics(path: Path) -> bytes:
    done = CliRunner().invoke(__main__.app, ["card", "age", "--metrics", str(path)])
    if done.exception:
        raise done.exception
    return done.stdout.encode()


def _tables(path: Path, rows: Callable) -> bytes:
    return b"".join(table.to_csv().encode() for table in rows(path))


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@cache
def kinds(h5: Path | None) -> dict[str, Kind]:
    """Every kind of file, by its name in the table."""
    found = {
        name: Kind({"photo": content}, "photo", [_photo, partial(_photo, at_least=120)], notices=True)
        for name, content in photos().items()
    }
    for target in ("age", "gender"):
        path = weights.pretrained(target)
        for end, read in ((".safetensors", _weights), (".onnx", partial(_exported, opens=runtime.open_onnx))):
            content = path.with_suffix(end).read_bytes()
            found[f"{target}{end}"] = Kind({f"{target}{end}": content}, f"{target}{end}", [read], sealed=True)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        path = weights.pretrained("age")
        with contextlib.redirect_stdout(io.StringIO()):
            export.to_ncnn(weights.load(path), place / "age.ncnn.param", weights.read_card(path))
        read = partial(_exported, opens=runtime.open_ncnn)
        for file in (files := _files(place)):
            found[f"ncnn, {Path(file).suffix}"] = Kind(files, file, [read], "age.ncnn.param", sealed=True)
    if h5:
        content = (h5 / "imdb.h5").read_bytes()
        found["Keras .h5"] = Kind({"imdb.h5": content}, "imdb.h5", [_keras])
    with tempfile.TemporaryDirectory() as name:
        store = synthetic.store(60, path=Path(name) / "store")
        files = _files(store.path)
        for file in files:
            found[f"store, {file}"] = Kind(files, file, [_store], "", sealed=file != "store.json")
    table = pd.DataFrame(
        {"path": [f"{i}.jpg" for i in range(60)], "age": range(60), "gender": ["female", "male"] * 30}
    )
    read = partial(_tables, rows=folder.rows)
    for end, content in ((".csv", table.to_csv(index=False).encode()), (".parquet", table.to_parquet())):
        found[f"own photos, {end}"] = Kind({f"table{end}": content}, f"table{end}", [read])
    found["IMDB-WIKI, .mat"] = Kind(
        {"imdb.mat": _mat()}, "imdb.mat", [partial(_tables, rows=imdb_wiki.rows)], ""
    )
    found["UTKFace, .tar"] = Kind({"a.tar": _tar()}, "a.tar", [partial(_tables, rows=utkface.rows)])
    found["metrics, .json"] = Kind({"metrics.json": _results()}, "metrics.json", [_metrics])
    return found


def _mat() -> bytes:
    """A small imdb.mat in the nesting of the original."""
    count = 40
    cells = np.empty((1, count), object)
    cells[0] = [np.array([f"00/{number}.jpg"]) for number in range(count)]
    record = {
        "dob": np.full((1, count), 723671, np.int32),
        "photo_taken": np.arange(1990, 1990 + count, dtype=np.uint16)[None],
        "full_path": cells,
        "name": cells,
        "gender": np.ones((1, count)),
        "face_score": np.full((1, count), 4.3),
        "second_face_score": np.full((1, count), np.nan),
    }
    buffer = io.BytesIO()
    savemat(buffer, {"imdb": record}, do_compression=True)
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in range(20):
            member = tarfile.TarInfo(f"UTKFace/{number}_1_2_{number}.jpg")
            content = photos()["JPEG"]
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _results() -> bytes:
    return (Path(__file__).parents[2] / "book" / "results" / "age-test.json").read_bytes()


@cache
def _answers(h5: Path | None, name: str) -> list[bytes]:
    """What a kind's whole files say, in each way to read them."""
    kind = kinds(h5)[name]
    with tempfile.TemporaryDirectory() as place:
        return [way(_written(kind, kind.files[kind.damage], Path(place))) for way in kind.ways]


def _written(kind: Kind, content: bytes, place: Path) -> Path:
    for file, whole in kind.files.items():
        (place / file).write_bytes(content if file == kind.damage else whole)
    return place / (kind.damage if kind.opens is None else kind.opens)


def attempt(h5: Path | None, name: str, number: int) -> list[tuple[str, str]]:
    """Damage a file once, and read it in each way: an outcome of the table, and what was said."""
    kind, outcomes = kinds(h5)[name], []
    how, content = damaged(kind.files[kind.damage], random.Random(f"{name} {number}"))
    notice = kind.sealed or (kind.notices and how == "cut")
    signal.alarm(LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        path = _written(kind, content, Path(folder))
        for way, answer in zip(kind.ways, _answers(h5, name), strict=True):
            try:
                outcomes.append(("wrong" if way(path) != answer and notice else "answered", how))
            except (ImportError, OSError, ValueError) as error:
                text = str(error)
                clear = folder in text and "\n" not in text and "Errno" not in text and len(text) < 500
                outcomes.append(("refused" if clear else "unclear", text))
            except Exception as error:
                outcomes.append(("traceback", f"{type(error).__name__}: {error}"))
    signal.alarm(0)
    return outcomes


def attack(h5: Path | None, name: str, tries: int) -> Counter:
    """Damage one kind's file `tries` times. What kills the process counts, and the next one goes on."""
    counts: Counter[str] = Counter()
    shown, done = set(), 0
    while done < tries:
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            try:
                for number in range(done, tries):
                    done = number + 1
                    for outcome, text in pool.submit(attempt, h5, name, number).result():
                        counts[outcome] += 1
                        if outcome not in HELD and (outcome, text[-30:]) not in shown:
                            shown.add((outcome, text[-30:]))
                            tqdm.write(f"{name}, number {number}: {outcome}: {text!r}", file=sys.stderr)
            except BrokenProcessPool:
                counts["crashed"] += 1
                tqdm.write(f"{name}, number {number}: crashed", file=sys.stderr)
    return counts


def several(count: int, place: Path) -> list[Path]:
    """Damaged photos of all kinds in one folder, with names as UTKFace has them; the same in every run."""
    place.mkdir()
    names = sorted(photos())
    for number in range(count):
        name = names[number % len(names)]
        _, content = damaged(photos()[name], random.Random(f"several {number}"))
        (place / f"{number % 100}_1_2_{number:06}.jpg").write_bytes(content)
    return sorted(place.iterdir())


def attack_prepare(place: Path) -> Counter:
    """`prepare` on damaged photos: each is a face or a reject."""
    count = len(several(SEVERAL * len(photos()), place / "photos"))
    arguments = ["prepare", "utkface", str(place / "photos"), "--out", str(place / "store")]
    done = CliRunner().invoke(__main__.app, arguments)
    if done.exit_code:
        return Counter(traceback=count)
    store = FaceStore(place / "store")
    counts = Counter(answered=len(store), refused=len(store.rejects))
    return counts + Counter(wrong=count - counts.total())


def attack_predict(place: Path) -> Counter:
    """`predict` on damaged photos, with a good one after every tenth: each good one is answered and drawn."""
    mixed, good = [], set()
    for number, path in enumerate(several(4 * len(photos()), place / "photos")):
        mixed.append(path)
        if number % 10 == 9:
            mixed.append(place / f"{number}.png")
            mixed[-1].write_bytes(photos()["PNG"])
            good.add(str(mixed[-1]))
    drawn = place / "drawn"
    arguments = ["predict", *map(str, mixed), "--json", "--out", str(drawn)]
    done = CliRunner().invoke(__main__.app, arguments)
    if not isinstance(done.exception, SystemExit):
        return Counter(traceback=len(mixed))
    answered = {reading["photo"] for reading in json.loads(done.stdout)}
    refused = sum(line.startswith("error: ") for line in done.stderr.splitlines())
    drawings = len(list(drawn.iterdir())) if drawn.is_dir() else 0
    lost = len(good - answered) + len(mixed) - refused - drawings
    return Counter(answered=len(mixed) - refused - lost, refused=refused, wrong=lost)


def main(tries: int, h5: Path | None) -> None:
    torch.set_num_threads(1)  # a forked process waits for ever for threads that its parent had
    rows = {name: attack(h5, name, tries) for name in tqdm(kinds(h5), unit="kind")}
    for name, run in (
        ("`prepare`, photos of all kinds", attack_prepare),
        ("`predict`, the same", attack_predict),
    ):
        with tempfile.TemporaryDirectory() as place:
            rows[name] = run(Path(place))
    table = pd.DataFrame(
        [
            {"kind": name, "tried": counts.total()} | {outcome: counts[outcome] for outcome in OUTCOMES}
            for name, counts in rows.items()
        ]
    )
    print(table.to_string(index=False))
    metrics = {"tries of each kind": tries, "kinds": table.to_dict("records")}
    seed = "a kind's name and the number of the try"
    results.record("book/results/attack-inputs.json", metrics, weights=weights.built_in(), seed=seed)
    lost = int(table[[outcome for outcome in OUTCOMES if outcome not in HELD]].sum().sum())
    sys.exit(f"{lost} of {table['tried'].sum()} did not hold" if lost else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tries", type=int, default=TRIES, help="how often each kind of file is damaged")
    parser.add_argument("--keras", type=Path, help="the authors' .h5 files, if they are there")
    arguments = parser.parse_args()
    results.check_committed(trial=arguments.tries < TRIES)
    main(arguments.tries, arguments.keras)
