"""Disturb what writes, and see whether the same command, given again, ends as if nothing had happened.

    python -m tools.experiments.attack_kills

The commands are `prepare` of every data set (small copies in the form that each has on disk, with drawn
faces, read by several processes) and of two stores joined, `train` of age and of gender along a chain,
`export` to each format, and `video`. What happens to them: kill -9 at random moments, half of them just
before a file is touched; Ctrl-C and SIGTERM; a second process at the same place; a disk that fills up (as
root, on Linux); damaged checkpoints; one of several processes killed. In the end every file must be what an
undisturbed run writes, byte for byte, with none left over. Of checkpoints only the names are compared, for
they say when they were saved. Writes book/results/attack-kills.json.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from scipy.io import savemat
from skimage import data

from ssrlib import results
from ssrlib.datasets import synthetic

PHOTOS, TRIES = 96, 20
# Kinds of `prepare` that read no photos: one process does them.
MADE = ("synthetic", "join")

# Small chunks and several processes, and for `train` a checkpoint a step: then there is more to disturb.
# Asked to, the process kills itself just before it touches a file in its folder for the Nth time.
DRIVER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command itself cares, a signal simply ends it
from ssrlib import __main__, prepare

prepare.CHUNK, prepare.FEW_PARTS = 16, 1
if os.environ.get("SAVE_ALWAYS"):
    from ssrlib import training
    training.SAVE_EVERY = 0.0
folder, last, seen = os.environ["FOLDER"], int(os.environ.get("LAST", -1)), 0
TOUCHES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "open"}

def touched(event, details):
    global seen
    if event not in TOUCHES or not str(details[0]).startswith(folder):
        return
    if event == "open" and not (details[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        return
    seen += 1
    if seen == last:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(touched)
try:
    __main__.main()
finally:
    if "COUNT" in os.environ:
        print("touched", seen, file=sys.stderr)
"""


class Case(NamedTuple):
    """A command: its words, where FOLDER stands for the place that it writes to."""

    name: str
    words: list[str]
    processes: int = 1


class Known(NamedTuple):
    """What an undisturbed run of a case took and left."""

    seconds: float
    touches: int
    files: dict[str, bytes]


class Try(NamedTuple):
    """What came of one disturbance: whether it struck at all, and what was wrong, if anything."""

    struck: bool
    wrong: str = ""


def start(case: Case, folder: Path, **environment) -> subprocess.Popen:
    words = [word.replace("FOLDER", str(folder)) for word in case.words]
    command = [sys.executable, "-c", DRIVER, *words]
    if case.processes > 1:
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={case.processes}"]
        command = [sys.executable, "-m", *torchrun, "-m", "ssrlib", *words]
    environment = {name: str(value) for name, value in environment.items()}
    with said(folder).open("w") as errors:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env=os.environ | {"FOLDER": str(folder), "OMP_NUM_THREADS": "1"} | environment,
        )


def said(folder: Path) -> Path:
    """Where the errors of a command that writes to a folder go."""
    return folder.with_name(f"{folder.name}.log")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; of checkpoints only the names."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): b"" if "checkpoint" in path.name else path.read_bytes()
        for path in files
    }


def undisturbed(case: Case, folder: Path) -> Known:
    started = time.monotonic()
    job = start(case, folder, COUNT=1, SAVE_ALWAYS=1)
    if job.wait():
        raise RuntimeError(f"{case.name}: fails without an attack: {said(folder).read_text()}")
    seconds = time.monotonic() - started
    touches = re.findall(r"touched (\d+)", said(folder).read_text())
    return Known(seconds, int(touches[-1]) if touches else 0, contents(folder))


def differences(known: Known, folder: Path) -> str:
    found = contents(folder)
    # A video is written over no file: after one that was finished, the same command leaves one more like it.
    for name in [name for name in found if re.fullmatch(r"film-\d+\.mp4", name)]:
        if found[name] == known.files.get("film.mp4"):
            del found[name]
    names = sorted(set(found) ^ set(known.files))
    names += [name for name in known.files if name in found and found[name] != known.files[name]]
    return f"in the end these differ: {', '.join(names)}" if names else ""


def finish(case: Case, known: Known, folder: Path) -> str:
    """Give the same command again, undisturbed; return what is wrong in the end."""
    if start(case, folder).wait(timeout=600):
        return f"the same command fails: {said(folder).read_text()[-2000:]}"
    return differences(known, folder)


def end(job: subprocess.Popen, number: int, everyone: bool) -> str:
    """Send a signal, and wait until nobody of the job's group is left."""
    (os.killpg if everyone else os.kill)(job.pid, number)
    try:
        job.wait(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        return "did not end"
    return left_over(job)


def left_over(job: subprocess.Popen) -> str:
    """Wait for the end of the pipe that every process of the job has inherited."""
    try:
        job.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(job.pid, signal.SIGKILL)
        return "its helpers did not end"
    return ""


def kill(case: Case, known: Known, folder: Path, dice: random.Random) -> Try:
    """Kill at a random moment, or at a random one of the moments at which a file is touched."""
    if dice.random() < 0.5:
        job = start(case, folder, LAST=dice.randint(1, known.touches), SAVE_ALWAYS=1)
        if job.wait() == -signal.SIGKILL:
            return Try(True, left_over(job))
        return Try(False, complaint(job, folder))
    job = start(case, folder, SAVE_ALWAYS=1)
    try:
        job.wait(timeout=dice.uniform(0.3, 1.05) * known.seconds)
    except subprocess.TimeoutExpired:
        return Try(True, end(job, signal.SIGKILL, everyone=dice.random() < 0.5))
    return Try(False, complaint(job, folder))


def stop_somewhen(number: int, case: Case, known: Known, folder: Path, dice: random.Random) -> Try:
    job = start(case, folder)
    try:
        job.wait(timeout=dice.uniform(0.3, 1.0) * known.seconds)
    except subprocess.TimeoutExpired:
        wrong = end(job, number, everyone=number == signal.SIGINT)  # as a terminal does for Ctrl-C
        if job.returncode == 0:  # it was just about to end
            return Try(False, wrong)
        text = said(folder).read_text()
        if job.returncode not in (128 + number, -number):
            wrong = wrong or f"exit status {job.returncode}: {text[-1000:]}"
        # By the signal itself it ends before it has begun, or after its work, when there is nothing to say.
        begins_anew = case.words[0] == "video"
        silent = job.returncode > 0 and ("stopped" if begins_anew else "go on") not in text
        if silent or "Traceback" in text:
            wrong = wrong or f"does not say how to go on: {text[-1000:]}"
        return Try(True, wrong)
    return Try(False, complaint(job, folder))


def kill_one_of_several(case: Case, known: Known, folder: Path, dice: random.Random) -> Try:
    """Kill one of torchrun's processes, or one that helps `prepare`."""
    job = start(case, folder)
    while job.poll() is None and not (helpers := others(job)):
        time.sleep(0.02)
    if case.processes > 1:
        time.sleep(dice.uniform(0.1, 0.8) * known.seconds)
    if job.poll() is not None:
        return Try(False, complaint(job, folder))
    os.kill(dice.choice(helpers), signal.SIGKILL)
    try:
        job.wait(timeout=300)
    except subprocess.TimeoutExpired:
        return Try(True, end(job, signal.SIGKILL, everyone=True) or "the others did not end")
    if job.returncode == 0:  # its work was done already
        return Try(False)
    text = said(folder).read_text()
    silent = case.processes == 1 and ("the same command goes on" not in text or "Traceback" in text)
    return Try(True, left_over(job) or (f"does not say how to go on: {text[-1000:]}" if silent else ""))


def others(job: subprocess.Popen) -> list[int]:
    """The processes that share a job's work, as soon as there are two."""
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    words = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    found = [child for child, line in words.items() if b"spawn_main" in line or b"ssrlib" in line]
    return found if len(found) > 1 else []


def complaint(job: subprocess.Popen, folder: Path) -> str:
    return f"exit status {job.returncode}: {said(folder).read_text()[-2000:]}" if job.returncode else ""


def again_and_again(strike: Callable, case: Case, known: Known, place: Path, tries: int) -> list[str]:
    """Strike one run after the other, each going on where the last one was struck, until one ends.

    What ended must be what an undisturbed run leaves; then the next one begins from nothing.
    """
    dice, struck, wrong, number = random.Random(f"{case.name}, {place.name}"), 0, [], 0
    folder = place / "0"
    while struck < tries:
        started = time.monotonic()
        came = strike(case, known, folder, dice)
        struck += came.struck
        wrong.append(came.wrong)
        if not came.struck:
            known = known._replace(seconds=min(known.seconds, time.monotonic() - started))
            wrong.append("" if came.wrong else differences(known, folder))
            number += 1
            shutil.rmtree(folder, ignore_errors=True)
            folder = place / str(number)
    wrong.append(finish(case, known, folder))
    return [text for text in wrong if text]


def two_at_once(case: Case, known: Known, place: Path, tries: int) -> list[str]:
    """Halt the first when it has begun to write, and let the second try."""
    wrong = []
    for number in range(tries):
        folder = place / str(number)
        first = start(case, folder, SAVE_ALWAYS=1)
        while first.poll() is None and not contents(folder):
            time.sleep(0.02)
        time.sleep(0.1)
        os.killpg(first.pid, signal.SIGSTOP)
        before, heard = contents(folder), said(folder).rename(place / f"{number}.first.log")
        second = start(case, folder)
        code, text = second.wait(timeout=300), said(folder).read_text()
        if code != 1 or "another process" not in text or "Traceback" in text:
            wrong.append(f"the second ends with {code} and says: {text[-1000:]}")
        if contents(folder) != before:
            wrong.append("the second touched something")
        os.killpg(first.pid, signal.SIGCONT)
        if first.wait(timeout=600):
            wrong.append(f"the first failed: {heard.read_text()[-1000:]}")
        wrong.append(differences(known, folder))
    return [text for text in wrong if text]


def full_disk(case: Case, known: Known, place: Path, tries: int) -> list[str]:
    """Run on a disk with room for the files of a former run and a part of the new ones; then make room.

    Where the same command would go on from the former files, or has nothing left to do, there are none.
    """
    wrong, dice = [], random.Random(case.name)
    size = sum(-(-len(content) // 4096) * 4096 for content in known.files.values())
    former = {} if case.words[0] == "train" or case.words[1] in MADE else known.files
    for number in range(tries):
        folder = place / str(number)
        folder.mkdir()
        room = int(dice.uniform(0.05, 0.95) * size) + (size if former else 0)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", folder], check=True)
        try:
            for name, content in former.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            wrong += _filled(case, known, folder, former)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
    return wrong


def _filled(case: Case, known: Known, folder: Path, former: dict[str, bytes]) -> list[str]:
    wrong = []
    code, text = start(case, folder, SAVE_ALWAYS=1).wait(timeout=600), said(folder).read_text()
    if code != 1 or "Traceback" in text or not re.search(rf"^error: .*{folder}.*$", text, re.MULTILINE):
        wrong.append(f"on a full disk it ends with {code} and says: {text[-1500:]}")
    found = contents(folder)
    wrong += [f"{name} is lost" for name, content in former.items() if found.get(name) != content]
    subprocess.run(["mount", "-o", "remount,size=1g", folder], check=True)
    return [*wrong, text] if (text := finish(case, known, folder)) else wrong


def damaged_checkpoint(case: Case, known: Known, place: Path, tries: int) -> list[str]:
    """Kill a run in its second half, and cut off its newest checkpoint somewhere, or flip one bit of it."""
    wrong, dice, unfinished = [], random.Random(case.name), place / "unfinished"
    start(case, unfinished, SAVE_ALWAYS=1, LAST=int(0.8 * known.touches)).wait()
    newest = (
        max(unfinished.rglob("checkpoint.previous.pt")).with_name("checkpoint.pt").relative_to(unfinished)
    )
    for number in range(tries):
        folder = place / str(number)
        shutil.copytree(unfinished, folder)
        whole = bytearray((folder / newest).read_bytes())
        if number % 2:
            whole[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        else:
            del whole[dice.randrange(len(whole)) :]
        (folder / newest).write_bytes(whole)
        wrong.append(finish(case, known, folder))
    return [text for text in wrong if text]


ATTACKS: dict[str, Callable[..., list[str]]] = {
    "killed": partial(again_and_again, kill),
    "Ctrl-C": partial(again_and_again, partial(stop_somewhen, signal.SIGINT)),
    "SIGTERM": partial(again_and_again, partial(stop_somewhen, signal.SIGTERM)),
    "two at once": two_at_once,
    "full disk": full_disk,
    "damaged checkpoint": damaged_checkpoint,
    "one of several processes killed": partial(again_and_again, kill_one_of_several),
}


def attacks_on(case: Case, tries: int) -> dict[str, int]:
    """The attacks that make sense for a case, and how many tries each gets."""
    few = -(-tries // 10)
    if case.processes > 1:
        return {"one of several processes killed": 4 * few}
    chosen = {"two at once": 1, "Ctrl-C": few, "SIGTERM": few}
    if os.geteuid() == 0 and shutil.which("mount"):
        chosen["full disk"] = few
    if case.words[0] == "train":
        chosen["damaged checkpoint"] = -(-tries // 2)
    if case.words[0] == "prepare" and case.words[1] not in MADE:
        chosen["one of several processes killed"] = few
    return chosen | {"killed": tries}


def attack(case: Case, tries: int, place: Path) -> dict[str, dict]:
    place.mkdir()
    known = undisturbed(case, place / "undisturbed")
    table = {}
    for name, count in attacks_on(case, tries).items():
        room = place / name.replace(" ", "-")
        room.mkdir()
        wrong = ATTACKS[name](case, known, room, count)
        table[name] = {"tried": count, "held": max(0, count - len(wrong))}
        print(f"{case.name}, {name}: {table[name]['held']} of {count} held", flush=True)
        for text in wrong:
            print(f"    {text.strip()}", flush=True)
    return table


def cases(place: Path) -> list[Case]:
    """Commands that write for long, on small data."""
    stores = [place / name for name in ("drawn", "others")]
    for seed, path in enumerate(stores):
        synthetic.store(240, seed, path)
    sources = {name: write(place / name) for name, write in WRITERS.items()}
    found = [
        Case(f"prepare {name}", ["prepare", name, str(path), "--out", "FOLDER/store"])
        for name, path in sources.items()
    ]
    drawn = ["prepare", "synthetic", "--out", "FOLDER/store", "--count", "240"]
    found.append(Case("prepare synthetic", drawn))
    joined = ["prepare", "join", *map(str, stores), "--out", "FOLDER/store"]
    found.append(Case("prepare join", joined))
    film = str(write_film(place / "film.mp4"))
    found.append(Case("video", ["video", film, "--out", "FOLDER/film.mp4"]))
    options = ["--epochs", "2", "--batch-size", "32", "--out", "FOLDER"]
    for target in ("age", "gender"):
        along = ["--chain", ",".join(map(str, stores)), "--target", target]
        found.append(Case(f"train {target} along a chain", ["train", *along, *options]))
    for to in ("onnx", "ncnn", "int8"):
        words = ["export", "gender", "--to", to, "--out", "FOLDER"]
        found.append(Case(f"export {to}", words + (["--store", str(stores[0])] if to == "int8" else [])))
    alone = ["train", "--store", str(stores[0]), *options]
    return [*found, Case("train age, 2 processes", alone, processes=2)]


def jpegs(width: int = 200, height: int = 200) -> list[bytes]:
    """Drawn faces as JPEG files, and a few that are damaged."""
    files = []
    for face in synthetic.generate(PHOTOS)[0]:
        large = cv2.resize(face[..., ::-1], (160, 160), interpolation=cv2.INTER_CUBIC)
        above, beside = (height - 160) // 2, (width - 160) // 2
        framed = cv2.copyMakeBorder(large, above, above, beside, beside, cv2.BORDER_REPLICATE)
        files.append(cv2.imencode(".jpg", framed)[1].tobytes())
    files[7::20] = [file[: len(file) // 2] for file in files[7::20]]
    return files


def write_photos(folder: Path, names: list[str], files: list[bytes]) -> None:
    for name, content in zip(names, files, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_imdb_wiki(source: str, folder: Path) -> Path:
    names = [f"{i % 10:02}/{i}.jpg" for i in range(PHOTOS)]
    write_photos(folder, names, jpegs())

    def cells(texts: list[str]) -> np.ndarray:
        array = np.empty((1, len(texts)), object)
        array[0] = [np.array([text]) for text in texts]
        return array

    dice = np.random.default_rng(0)
    record = {
        "dob": np.array([723671 - 150 * np.arange(PHOTOS)], np.int32),
        "photo_taken": np.full((1, PHOTOS), 2009, np.uint16),
        "full_path": cells(names),
        "gender": np.array([dice.integers(0, 2, PHOTOS).astype(float)]),
        "name": cells([f"Person {i // 2}" for i in range(PHOTOS)]),
        "face_location": cells(["box"] * PHOTOS),
        "face_score": np.array([dice.uniform(0.9, 5, PHOTOS)]),
        "second_face_score": np.full((1, PHOTOS), np.nan),
    }
    savemat(folder / f"{source}.mat", {source: record})
    return folder


def write_megaage(folder: Path) -> Path:
    photos, at = jpegs(178, 218), 0
    for part, count in (("train", PHOTOS - 20), ("test", 20)):
        names = [f"{i + 1}.jpg" for i in range(count)]
        write_photos(folder / part, names, photos[at : at + count])
        at += count
        lists = {"name": names, "age": [str(i % 71) for i in range(count)]}
        (folder / "list").mkdir(exist_ok=True)
        for kind, lines in lists.items():
            (folder / "list" / f"{part}_{kind}.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_morph(folder: Path) -> Path:
    names = [f"Album{i % 2 + 1}/{i // 3:06}_{i % 3}{'MF'[i % 2]}{16 + i % 60}.JPG" for i in range(PHOTOS)]
    write_photos(folder, names, jpegs(240, 240))
    return folder


def write_utkface(folder: Path) -> Path:
    names = [f"{i % 110}_{i % 2}_{i % 5}_{20170101000000000 + i}.jpg.chip.jpg" for i in range(PHOTOS)]
    write_photos(folder / "UTKFace", names, jpegs())
    return folder


def write_aaf(folder: Path) -> Path:
    names = [f"{i:05}A{i % 78 + 2:02}.jpg" for i in range(PHOTOS)]
    write_photos(folder / "original images", names, jpegs(240, 240))
    (folder / "image sets").mkdir()
    for part, listed in (("train", names[:80]), ("val", names[80:])):
        lines = [f"{name} {i % 2}" for i, name in enumerate(listed)]
        (folder / "image sets" / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_appa(folder: Path) -> Path:
    table = pd.DataFrame({"file_name": [f"{i:06}.jpg" for i in range(PHOTOS)]})
    table["real_age"] = table["apparent_age_avg"] = np.arange(PHOTOS) % 90
    table["apparent_age_std"] = 3.0
    photos = jpegs(240, 240)
    for part, start, end in (("train", 0, 60), ("valid", 60, 76), ("test", 76, PHOTOS)):
        listed = table.iloc[start:end]
        write_photos(folder / part, [f"{name}_face.jpg" for name in listed["file_name"]], photos[start:end])
        listed.to_csv(folder / f"gt_avg_{part}.csv", index=False)
    return folder


def write_film(path: Path) -> Path:
    """A video of a photo that wanders."""
    photo = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (400, 400))
    for step in range(60):
        writer.write(np.ascontiguousarray(photo[step : step + 400, step : step + 400]))
    writer.release()
    return path


def write_folder(folder: Path) -> Path:
    names = [f"photos/{i}.jpg" for i in range(PHOTOS)]
    write_photos(folder, names, jpegs(240, 240))
    table = pd.DataFrame({"path": names, "age": np.arange(PHOTOS) % 90})
    table.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "imdb": partial(write_imdb_wiki, "imdb"),
    "wiki": partial(write_imdb_wiki, "wiki"),
    "megaage": write_megaage,
    "morph": write_morph,
    "utkface": write_utkface,
    "aaf": write_aaf,
    "appa": write_appa,
    "folder": write_folder,
}


def main(tries: int, jobs: int, only: str) -> None:
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(jobs) as workers:
        os.environ["TMPDIR"] = place  # what killed processes leave there goes with it
        signal.signal(signal.SIGINT, signal.default_int_handler)  # started with &, they would ignore it
        chosen = [case for case in cases(Path(place)) if only in case.name]
        rooms = [Path(place) / f"attack-{number}" for number in range(len(chosen))]
        tables = list(workers.map(lambda case, room: attack(case, tries, room), chosen, rooms))
        table = {case.name: table for case, table in zip(chosen, tables, strict=True)}
    results.record("book/results/attack-kills.json", table, weights=(), data="drawn faces")
    lost = sum(row["tried"] - row["held"] for table in tables for row in table.values())
    sys.exit(f"{lost} did not hold" if lost else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tries", type=int, default=TRIES, help="kills of each command")
    parser.add_argument("--jobs", type=int, default=2, help="commands attacked at once")
    parser.add_argument("--only", default="", help="a part of the command's name; then nothing is recorded")
    arguments = parser.parse_args()
    results.check_committed(trial=bool(arguments.only) or arguments.tries < TRIES)
    main(arguments.tries, arguments.jobs, arguments.only)
