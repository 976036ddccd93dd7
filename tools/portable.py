"""Whether every chapter prints the same under other processors, threads, hash seeds, languages and time zones.

    python tools/portable.py
    python tools/portable.py --chapter 03 --chapter 06 --setting "two threads"

Each chapter is run under each setting and compared with what is stored in its notebook, by nbval and
therefore exactly as `make test` does. Prints a table and, below it, every cell that differs. A run of all
chapters and settings writes book/results/portable.json. What an older processor computes is had from
this one: the libraries are told to leave its newer instructions alone.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd

from ssrlib import evaluation

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
CELL_SECONDS, CHAPTER_SECONDS = 600, 1800
AT_ONCE = 2

PLAIN = {"ATEN_CPU_CAPABILITY": "default"}
NO_NEWS = {
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL",
    "OPENCV_IPP": "disabled",
    "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX",
}
SETTINGS = {
    "as it is": {"OMP_NUM_THREADS": None},
    "one thread": {},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "four threads": {"OMP_NUM_THREADS": "4"},
    "ATen default": PLAIN,
    "ATen AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "oneDNN AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "MKL compatible": {"MKL_CBWR": "COMPATIBLE"},
    "oldest": PLAIN | NO_NEWS,
    "hash seed 1": {"PYTHONHASHSEED": "1"},
    "hash seed 2": {"PYTHONHASHSEED": "2"},
    # A locale of plain ASCII, which Python must be told not to replace by UTF-8.
    "ASCII, Tokyo": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Asia/Tokyo"},
}


def environment(setting: str) -> dict[str, str]:
    """Return this process's environment with a setting's changes; one thread unless it says otherwise."""
    changed = os.environ | {"OMP_NUM_THREADS": "1"} | SETTINGS[setting]
    return {name: value for name, value in changed.items() if value is not None}


def differing(report: Path) -> dict[str, str]:
    """Return the cells that failed in one of pytest's XML reports, each with what nbval says about it."""
    cells = {}
    for case in ElementTree.parse(report).iter("testcase"):
        for failure in (*case.iter("failure"), *case.iter("error")):
            cells[case.get("name")] = re.sub(r"(\x1b|#x1B)\[\d*m", "", failure.get("message")).strip()
    return cells


def run(chapter: Path, setting: str) -> dict[str, str]:
    """Run a chapter under a setting, and return the cells that differ; one that hangs differs as well."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        compare = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", str(chapter)]
        compare += ["--nbval-sanitize-with", "tests/book/sanitize.cfg", "--nbval-cell-timeout", str(CELL_SECONDS)]
        try:
            subprocess.run(
                [*compare, "--junitxml", str(report)],
                cwd=ROOT,
                env=environment(setting),
                capture_output=True,
                timeout=CHAPTER_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return {"the chapter": f"not done after {CHAPTER_SECONDS} seconds"}
        return differing(report) if report.is_file() else {"the chapter": "pytest could not run it"}


def main(chapters: list[Path], settings: list[str]) -> bool:
    """Run all of them, print the table, and return whether nothing differs."""
    jobs = list(product(chapters, settings))
    table = pd.DataFrame("", index=[chapter.stem for chapter in chapters], columns=settings)
    found = []
    with ThreadPoolExecutor(AT_ONCE) as executor:
        for (chapter, setting), cells in zip(jobs, executor.map(run, *zip(*jobs, strict=True)), strict=True):
            table.loc[chapter.stem, setting] = f"{len(cells)} differ" if cells else "same"
            found += [{"chapter": chapter.stem, "setting": setting, "cell": name, "what": what} for name, what in cells.items()]
            print(f"{chapter.stem}, {setting}: {table.loc[chapter.stem, setting]}", flush=True)
    print(table.to_string())
    for cell in found:
        print(f"\n{cell['chapter']}, {cell['setting']}, {cell['cell']}\n{cell['what']}")
    if chapters == CHAPTERS and settings == list(SETTINGS):
        figures = {"settings": SETTINGS, "chapters": table.T.to_dict(), "differing cells": found}
        evaluation.record(ROOT / "book" / "results" / "portable.json", figures, data="the book's notebooks")
    return not found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chapter", action="append", help="its number; may be repeated")
    parser.add_argument("--setting", action="append", choices=SETTINGS, help="may be repeated")
    asked = parser.parse_args()
    numbers = asked.chapter or [chapter.stem[:2] for chapter in CHAPTERS]
    chosen = [chapter for chapter in CHAPTERS if chapter.stem[:2] in numbers]
    sys.exit(0 if main(chosen, asked.setting or list(SETTINGS)) else 1)
