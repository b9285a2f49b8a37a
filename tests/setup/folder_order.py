#!/usr/bin/env python3
"""Holds the order of the folders of include/pfc, src and apps, which HACKING.md shows: a file may include files of its own
folder and of those below it. So no folder uses one above it, and there is no circle.

    tests/setup/folder_order.py SOURCE
"""
import pathlib
import re
import sys

ORDER = ["base", "formats", "plan", "comm", "data", "align", "head", "model", "export", "eval", "train", "apps"]


def folder_of(path: pathlib.PurePath) -> str:
    """`src/head/margin.cpp` and `include/pfc/head/margin.h` are of `head`."""
    parts = path.parts
    return parts[2] if parts[0] == "include" else parts[0] if parts[0] == "apps" else parts[1]


def main() -> int:
    source = pathlib.Path(sys.argv[1])
    wrong = []
    files = [file for top in ("include", "src", "apps") for file in sorted((source / top).rglob("*"))
             if file.suffix in (".h", ".cpp", ".cu")]
    if not files:
        sys.exit(f"{source}: no sources there")
    for file in files:
        here = file.relative_to(source)
        folder = folder_of(here)
        if folder not in ORDER:
            wrong.append(f"{here}: {folder}/ has no place in the order (tests/setup/folder_order.py, HACKING.md)")
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"((?:pfc/)?([^"/]+)/[^"]*)"', line)
            if match and match[2] in ORDER and ORDER.index(match[2]) > ORDER.index(folder):
                wrong.append(f"{here}:{number}: {folder}/ includes {match[1]}, and {match[2]}/ is above it")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(files)} files, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
