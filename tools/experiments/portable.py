"""Does every chapter print the same on other processors, with other threads, hash seeds and time zones?

    python -m tools.experiments.portable
    python -m tools.experiments.portable --chapter 03 --chapter 06 --setting "MKL compatible"

Runs each chapter under each setting, and compares with what its notebook holds by nbval, as `make test`
does. What an older processor would compute is had by telling the libraries to leave the newer
instructions alone. Prints a table and, below it, the cells that differ; a run under all settings writes both
to book/results/portable.json, beside what that has of other chapters. Stopped, the same command goes on:
what came out the same is run again only when the chapter, the package or a result that it shows has changed.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from ssrlib import results, weights

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "book" / "results" / "portable.json"
CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
CELL_SECONDS, CHAPTER_SECONDS = 1800, 3600
AT_ONCE = 2

PLAIN = {"ATEN_CPU_CAPABILITY": "default"}
OLDEST = PLAIN | {
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL",
    "OPENCV_IPP": "disabled",
    "OPENCV_LOG_LEVEL": "ERROR",
    "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX",
}
# Python would replace a locale of plain ASCII by UTF-8, were it not told to leave it alone.
ELSEWHERE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "TZ": "Asia/Tokyo"}
# Hash seeds and places come with numbers of threads: one cannot be taken for the other in what a cell prints.
SETTINGS: dict[str, Mapping[str, str | None]] = {
    "as it is": {"OMP_NUM_THREADS": None, "OPENCV_FOR_THREADS_NUM": None},
    "one thread, hash seed 1": {"PYTHONHASHSEED": "1"},
    "two threads, hash seed 2": {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "2"},
    "four threads, ASCII, Tokyo": {"OMP_NUM_THREADS": "4"} | ELSEWHERE,
    "ATen default": PLAIN,
    "ATen AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "oneDNN AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "MKL compatible": {"MKL_CBWR": "COMPATIBLE"},
    "oldest": OLDEST,
}


def mark(chapter: Path, setting: str) -> Path:
    """Return a file's path; the file is there once this chapter has come out the same under this setting."""
    digest, text = hashlib.sha256(repr(SETTINGS[setting]).encode()), chapter.read_text()
    # A chapter names a result as it is, or by its first part: results.load(f"age-{split}").
    shown = [path for path in RESULT.parent.glob("*.json") if _named(path.stem, text)]
    read = [*(ROOT / "ssrlib").rglob("*.*"), *shown]
    for path in (chapter, ROOT / "requirements.lock", *sorted(set(read) - {RESULT})):
        if path.suffix != ".pyc":
            digest.update(path.read_bytes())
    return ROOT / "_build" / "portable" / f"{chapter.stem}-{digest.hexdigest()[:16]}"


def cells_sha256(chapter: Path) -> str:
    """Return the checksum of a chapter's code, which a record of portability is about."""
    cells = json.loads(chapter.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def _named(result: str, text: str) -> bool:
    return result in text or f"{result.rpartition('-')[0]}-{{" in text


def environment(setting: str) -> dict[str, str]:
    """Return this process's environment with a setting's changes; one thread unless it says otherwise."""
    # More threads than cores that wait by counting would keep each other from working.
    usual = {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    changed = {**os.environ, **usual, **SETTINGS[setting]}
    return {name: value for name, value in changed.items() if value is not None}


def differing(report: Path) -> dict[str, str]:
    """Return what failed in pytest's XML report: cells by name, each with what nbval says about it."""
    cases = [
        (case, *case.iter("failure"), *case.iter("error"))
        for case in ElementTree.parse(report).iter("testcase")
    ]
    return {
        case.attrib["name"]: re.sub(r"(\x1b|#x1B)\[\d*m", "", failures[0].text or "").strip()
        for case, *failures in cases
        if failures
    }


def run(chapter: Path, setting: str) -> dict[str, str]:
    """Run a chapter under a setting, and return the cells that differ; a chapter that hangs differs, too."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", str(chapter)]
    command += ["--nbval-sanitize-with", "tests/book/sanitize.cfg", "--nbval-cell-timeout", str(CELL_SECONDS)]
    with tempfile.TemporaryDirectory() as folder:
        report, log = Path(folder) / "report.xml", Path(folder) / "log"
        try:
            with log.open("w") as said:
                subprocess.run(
                    [*command, "--junitxml", str(report)],
                    cwd=ROOT,
                    env=environment(setting),
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    timeout=CHAPTER_SECONDS,
                )
        except subprocess.TimeoutExpired:
            return {"all": f"stopped after {CHAPTER_SECONDS} seconds"}
        return differing(report) if report.is_file() else {"all": log.read_text()[-2000:]}


def once(chapter: Path, setting: str) -> dict[str, str]:
    """Do as `run` does, unless the chapter has come out the same before."""
    done = mark(chapter, setting)
    if done.is_file():
        return {}
    cells = run(chapter, setting)
    if not cells:
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
    return cells


def beside(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Return a record of some chapters with what an older one, under the same settings, has of the others."""
    if old["settings"] != new["settings"]:
        return new
    others = [chapter.stem for chapter in CHAPTERS if chapter.stem in set(old["code"]) - set(new["code"])]
    cells = [cell for cell in old["differing cells"] if cell["chapter"] in others]
    parts = {
        name: dict(sorted(({stem: old[name][stem] for stem in others} | new[name]).items()))
        for name in ("chapters", "code", "commits")
    }
    return new | parts | {"differing cells": cells + new["differing cells"]}


def main(chapters: list[Path], settings: list[str]) -> int:
    """Run all of them, print the table and the cells that differ, and return how many there are."""
    recorded = settings == list(SETTINGS)
    if recorded:
        results.check_committed()
    began, code = results.commit(), {chapter.stem: cells_sha256(chapter) for chapter in chapters}
    jobs = list(product(chapters, settings))
    table = pd.DataFrame(index=settings, columns=[chapter.stem for chapter in chapters])
    found = []
    with ThreadPoolExecutor(AT_ONCE) as executor:
        for (chapter, setting), cells in zip(jobs, executor.map(once, *zip(*jobs, strict=True)), strict=True):
            outcome = f"{len(cells)} differ" if cells else "same"
            table.loc[setting, chapter.stem] = outcome
            for name, what in cells.items():
                found.append({"chapter": chapter.stem, "setting": setting, "cell": name, "what": what})
            print(f"{chapter.stem}, {setting}: {outcome}", flush=True)
    print(table.rename(columns=lambda stem: stem[:2]).to_string())
    for cell in found:
        print("", f"{cell['chapter']}, {cell['setting']}, {cell['cell']}", cell["what"], sep="\n")
    if recorded:
        changed = [chapter.stem for chapter in chapters if cells_sha256(chapter) != code[chapter.stem]]
        code |= dict.fromkeys(changed, "changed while it ran")
        commits = dict.fromkeys(code, began)
        metrics = {"settings": SETTINGS, "chapters": table.to_dict(), "differing cells": found}
        metrics |= {"code": code, "commits": commits}
        if RESULT.is_file():
            metrics = beside(metrics, results.load(RESULT.stem)["metrics"])
        results.record(RESULT, metrics, weights=weights.built_in(), data="the book's notebooks")
    return len(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chapter", action="append", help="its number, such as 03; may be repeated")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="may be repeated")
    asked = parser.parse_args()
    numbers = asked.chapter or [chapter.stem[:2] for chapter in CHAPTERS]
    chosen = [chapter for chapter in CHAPTERS if chapter.stem[:2] in numbers]
    if unknown := set(numbers) - {chapter.stem[:2] for chapter in chosen}:
        parser.error(f"there is no chapter {', '.join(sorted(unknown))}")
    sys.exit(min(main(chosen, asked.setting or list(SETTINGS)), 1))
