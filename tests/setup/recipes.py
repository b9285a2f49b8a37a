#!/usr/bin/env python3
"""Follows docs/extending.md to the letter. A block of code there belongs to the file that is named before it, as `FILE`:

- a diff is made in the file, which must have the lines that are not added, once;
- a block of an example must be found in it, whatever its indentation;
- any other block is a new file.

What is new goes into a copy of the tree below BUILD. There, the tests that the same sections name are built and run.

    tests/setup/recipes.py SOURCE BUILD LIBTORCH
"""
import os
import pathlib
import re
import subprocess
import sys
import textwrap

# What CMake reads for the tests, and what they read.
PARTS = ["CMakeLists.txt", "apps", "bench", "cmake", "configs", "docs/losses.md", "include", "src", "tests"]


class Block:
    def __init__(self, kind: str, path: str, lines: list[str]):
        self.kind, self.path, self.lines = kind, path, lines


def blocks_of(section: str) -> list[Block]:
    """The blocks of code, which may stand within a list."""
    found, before = [], ""
    lines = iter(section.splitlines())
    for line in lines:
        fence = re.fullmatch(r"\s*```(\w+)", line)
        if not fence:
            before = line.strip() or before
            continue
        body = []
        for line in lines:
            if line.strip() == "```":
                break
            body.append(line)
        named = re.search(r"`([^`\s]+)`:$", before)
        if not named:
            sys.exit(f"docs/extending.md: no file is named before the block that begins with '{body[0].strip()}'")
        found.append(Block(fence[1], named[1], textwrap.dedent("\n".join(body)).splitlines()))
        before = ""
    return found


def has(file: pathlib.Path, part: list[str]) -> bool:
    part, lines = [[line.strip() for line in each] for each in (part, file.read_text().splitlines())]
    return any(lines[i:i + len(part)] == part for i in range(len(lines)))


def changed(text: str, block: Block) -> str:
    lines = text.splitlines()
    for change in re.split(r"^@@.*\n", "\n".join(block.lines) + "\n", flags=re.M):
        if not change:
            continue
        parts = [(line[:1], line[1:]) for line in change.splitlines()]
        old = [line for sign, line in parts if sign != "+"]
        new = [line for sign, line in parts if sign != "-"]
        places = [i for i in range(len(lines)) if lines[i:i + len(old)] == old]
        if len(places) != 1:
            sys.exit(f"docs/extending.md: {block.path} has these lines {len(places)} times, want once:\n" + "\n".join(old))
        lines[places[0]:places[0] + len(old)] = new
    return "\n".join(lines) + "\n"


def main() -> int:
    source, build, libtorch = map(pathlib.Path, sys.argv[1:])
    new, filters = {}, []
    for section in re.split(r"^## ", (source / "docs/extending.md").read_text(), flags=re.M)[1:]:
        changes_the_tree = False
        for block in blocks_of(section):
            there = source / block.path
            if block.kind == "diff":
                new[block.path] = changed(new.get(block.path) or there.read_text(), block)
                changes_the_tree = True
            elif block.path.startswith("examples/"):
                if not has(there, block.lines):
                    sys.exit(f"docs/extending.md: {block.path} has no lines as those that begin with '{block.lines[0]}'")
            elif there.exists() or block.path in new:
                sys.exit(f"docs/extending.md: {block.path} is there already")
            else:
                new[block.path] = "\n".join(block.lines) + "\n"
                changes_the_tree = True
        if changes_the_tree:
            filters += re.findall(r"--gtest_filter='([^']*)'", section)
    print(f"new or changed: {', '.join(new)}")

    # Only what differs is written, so that a second run compiles little.
    tree = build / "tree"
    files = {str(file.relative_to(source)): file for part in PARTS for file in [source / part, *(source / part).rglob("*")]
             if file.is_file()}
    wanted = {path: file.read_bytes() for path, file in files.items()} | {path: text.encode() for path, text in new.items()}
    for file in tree.rglob("*"):
        if file.is_file() and str(file.relative_to(tree)) not in wanted:
            file.unlink()
    for path, content in wanted.items():
        copy = tree / path
        if not copy.exists() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)

    def run(*command, **options):
        print("+", *command, flush=True)
        return subprocess.run(list(map(str, command)), check=True, **options)

    run("cmake", "-S", tree, "-B", build / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1",
        "-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=16", "-DPFC_WERROR=ON", "-DPFC_BENCH=OFF",
        "-DCMAKE_CUDA_COMPILER=NOTFOUND", f"-DPFC_LIBTORCH={libtorch}", stdout=subprocess.DEVNULL)
    run("cmake", "--build", build / "build", "--target", "recipe_tests")
    tests = build / "build/bin/recipe_tests"
    patterns = sorted({pattern for each in filters for pattern in each.split(":")})
    for pattern in patterns:
        if " " not in run(tests, "--gtest_list_tests", f"--gtest_filter={pattern}", capture_output=True, text=True).stdout:
            sys.exit(f"docs/extending.md: no test is named {pattern}")
    run(tests, "--gtest_brief=1", f"--gtest_filter={':'.join(patterns)}", env=os.environ | {"OMP_WAIT_POLICY": "passive"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
