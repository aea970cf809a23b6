#!/usr/bin/env python3
"""Checks that the source keeps to its architecture (docs/architecture.md).

Reads every #include line under src/ and include/, and every DEPENDS list of the CMake modules, and
reports

  - a folder that includes a folder it must not know (ALLOWED below);
  - an outside library used where it has no business (LIBRARIES), or visible in a header that
    another folder reads;
  - conditional compilation outside the kernel folders: build options choose files, not branches;
  - a file of more than 800 lines.

Usage: check_architecture.py ROOT
       check_architecture.py --self-test
"""

import re
import sys
import tempfile
from pathlib import Path

MAX_LINES = 800

# Folder of src/ -> folders that it may include beside itself. "msa.h" stands for the public
# interface. msa/result.h and msa/document.h are free for all.
ALLOWED = {
    "base": set(),
    "text": {"base"},
    "corpus": {"base", "text"},
    "checkpoint": {"base"},
    "kernels": {"base"},
    "model": {"base", "checkpoint", "kernels"},
    "memory": {"base", "kernels", "model"},
    "approximate": {"base", "kernels", "memory"},
    "engine": {"base", "text", "corpus", "checkpoint", "kernels", "model", "memory",
               "approximate", "msa.h"},
    "libmsa": {"base", "text", "corpus", "checkpoint", "kernels", "model", "memory",
               "approximate", "engine", "msa.h"},
    "samples": {"base", "text"},
    "tasks": {"base", "text", "corpus", "samples"},
    "plan": {"base", "checkpoint"},
    "eval": {"base", "samples", "tasks", "msa.h"},
    "cli": {"msa.h", "plan", "samples", "tasks", "eval"},
    "train_kernels": {"base"},
    "train": {"base", "text", "checkpoint", "samples", "train_kernels"},
    "trainer": {"base", "text", "checkpoint", "samples", "tasks", "train"},
}
# One source for several instruction sets needs conditions.
KERNEL_FOLDERS = {"kernels", "train_kernels"}
FREE_HEADERS = {"msa/result.h", "msa/document.h"}

# Outside library -> pattern of its headers, folders that may include them. None: every folder.
LIBRARIES = {
    "fmt": (r"fmt/", None),
    "nlohmann-json": (r"nlohmann/",
                      {"text", "corpus", "checkpoint", "samples", "tasks", "memory", "approximate",
                       "engine", "eval", "cli", "train", "trainer"}),
    "FAISS": (r"faiss/", {"approximate"}),
    "SQLite": (r"sqlite3", {"memory", "eval"}),
    "PCRE2": (r"pcre2", {"text"}),
    "utf8proc": (r"utf8proc", {"text"}),
    "zlib": (r"zlib\.h|zconf\.h", {"corpus"}),
    "zstd": (r"zstd", {"corpus"}),
    "libarchive": (r"archive(_entry)?\.h", {"memory"}),
    "Highway": (r"hwy/", {"kernels", "train_kernels"}),
    "oneDNN": (r"dnnl|oneapi/dnnl", {"kernels"}),
    "xxHash": (r"xxh", {"base"}),
    "CLI11": (r"CLI/", {"cli", "trainer"}),
    "libedit": (r"editline/|histedit\.h|readline/", {"cli"}),
    "OpenMP": (r"omp\.h", {"checkpoint", "kernels", "model", "approximate", "engine",
                                 "train_kernels", "train"}),
    "libtorch": (r"torch/|ATen/|c10/", {"train", "trainer"}),
    "intrinsics": (r"\w*intrin\.h|cpuid\.h|arm_\w+\.h", KERNEL_FOLDERS),
}
TEST_LIBRARIES = re.compile(r"gtest/|gmock/|benchmark/")
# Libraries whose names are common knowledge: headers of C++ and of POSIX.
STANDARD = re.compile(r"[a-z_0-9]+|(sys|net|netinet|arpa|linux)/\w+\.h|"
                      r"(assert|ctype|dirent|errno|execinfo|fcntl|langinfo|limits|locale|malloc|math|poll|"
                      r"pthread|pwd|sched|signal|spawn|stdint|stdio|stdlib|string|strings|termios|"
                      r"time|unistd|wchar)\.h")

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)")')
CONDITIONAL = re.compile(r"^\s*#\s*(?:if|ifdef|ifndef|elif)\b")
# What a test may ask: which system calls this processor has, whether a sanitizer watches.
TEST_CONDITION = re.compile(r"^\s*#\s*(?:ifdef|ifndef)\s+(?:SYS_\w+|__SANITIZE_\w+)\s*$")
DEPENDS = re.compile(r"msa_module\(\s*(\w+)[^)]*?\bDEPENDS((?:\s+[a-z_]+)+)")


def is_test(path):
    """Whether `path` (relative) is built into tests or benchmarks only."""
    return (re.search(r"_(test|bench)\.cc$", path.name) is not None
            or path.name.startswith(("test_", "bench_")) or "testing" in path.parts)


class Tree:
    """The sources below a root: their lines and what they include."""

    def __init__(self, root):
        self.files = {}     # path as an #include names it -> (path from the root, lines)
        self.includes = {}  # the same -> [(line number, included, with angle brackets)]
        for top in ("src", "include"):
            for path in sorted((root / top).rglob("*")):
                if path.suffix not in (".h", ".cc"):
                    continue
                name = path.relative_to(root / top).as_posix()
                lines = path.read_text(encoding="utf-8").splitlines()
                self.files[name] = (path.relative_to(root), lines)
                self.includes[name] = [
                    (number, match[1] or match[2], match[1] is not None)
                    for number, line in enumerate(lines, 1) if (match := INCLUDE.match(line))]

    def reached(self, name):
        """Our own headers that `name` includes, directly or not."""
        seen, todo = set(), [name]
        while todo:
            for _, included, _ in self.includes[todo.pop()]:
                if included in self.files and included not in seen:
                    seen.add(included)
                    todo.append(included)
        return seen


def folder_of(name):
    return name.split("/")[0]


def library_of(included):
    for library, (pattern, _) in LIBRARIES.items():
        if re.match(pattern, included):
            return library
    return None


def check_own(tree, name, folder, included):
    """What is wrong with `name` including our own header `included`, or None."""
    if included not in tree.files:
        if "/" not in included or included.startswith("."):
            return f'"{included}" is not a path from src/ or include/'
        return f'"{included}" does not exist'
    if not included.endswith(".h"):
        return f'"{included}" is not a header'
    target = folder_of(included)
    if target == folder or included in FREE_HEADERS:
        return None
    if folder == "msa":
        return f'the public header includes "{included}", which is private'
    if target == "msa":
        target = "msa.h"
    if target in ALLOWED[folder]:
        return None
    allowed = ", ".join(sorted(ALLOWED[folder])) or "nothing"
    return f'{folder} must not include "{included}" (it may include: {allowed})'


def check_outside(name, path, folder, included):
    """What is wrong with `name` including the outside header `included`, or None."""
    if STANDARD.fullmatch(included):
        return None
    if TEST_LIBRARIES.match(included):
        return None if is_test(path) else f"<{included}> outside a test or benchmark"
    library = library_of(included)
    if library is None:
        return f"<{included}> is of no library that is declared here"
    allowed = LIBRARIES[library][1]
    if folder == "msa":
        return f"the public header includes <{included}> ({library})"
    if allowed is None or folder in allowed:
        return None
    return f"{folder} must not use {library} (<{included}>); {', '.join(sorted(allowed))} may"


def check_tree(root):
    """All violations, one line each."""
    tree = Tree(root)
    problems = []
    if not any(path.parts[0] == "src" for path, _ in tree.files.values()):
        return [f"{root}: no sources under src/"]

    for name, (path, lines) in tree.files.items():
        folder = folder_of(name)
        if len(lines) > MAX_LINES:
            problems.append(f"{path}: {len(lines)} lines, more than {MAX_LINES}; split it")
        if path.parts[0] == "include" and folder != "msa":
            problems.append(f"{path}: public headers live in include/msa/")
            continue
        if path.parts[0] == "src" and folder not in ALLOWED:
            problems.append(f"{path}: folder '{folder}' is not declared in {Path(__file__).name}")
            continue
        for number, included, angled in tree.includes[name]:
            ours = not angled and library_of(included) is None \
                and not TEST_LIBRARIES.match(included)
            problem = (check_own(tree, name, folder, included) if ours
                       else check_outside(name, path, folder, included))
            if problem:
                problems.append(f"{path}:{number}: {problem}")
        if folder not in KERNEL_FOLDERS:
            problems += [f"{path}:{number}: conditional compilation outside the kernel folders; let "
                         "CMake choose the file" for number, line in enumerate(lines, 1)
                         if CONDITIONAL.match(line)
                         and not (is_test(path) and TEST_CONDITION.match(line))]

    # Headers that a file of another folder reads, however indirectly, must not show a library.
    readers = {}
    for name in tree.files:
        for header in tree.reached(name):
            if folder_of(header) != folder_of(name):
                readers.setdefault(header, name)
    for header, reader in sorted(readers.items()):
        for number, included, _ in tree.includes[header]:
            library = library_of(included)
            if library not in (None, "fmt"):
                path = tree.files[header][0]
                problems.append(f"{path}:{number}: {library} is visible in a header that "
                                f"{tree.files[reader][0]} reads")

    for cmake in sorted((root / "src").glob("*/CMakeLists.txt")):
        text = re.sub(r"#.*", "", cmake.read_text(encoding="utf-8"))
        for module, depends in DEPENDS.findall(text):
            for extra in sorted(set(depends.split()) - ALLOWED.get(module, set())):
                problems.append(f"{cmake.relative_to(root)}: {module} must not depend on {extra}")
    return problems


# --- self-test: a good tree, and for each rule a change that breaks it ---

GOOD_TREE = {
    "include/msa/result.h": "#pragma once\n#include <string>\n",
    "include/msa/document.h": '#pragma once\n#include "msa/result.h"\n',
    "include/msa/msa.h": '#pragma once\n#include "msa/document.h"\n',
    "src/base/hash.h": "#pragma once\n#include <cstdint>\n",
    "src/base/hash.cc": '#include "base/hash.h"\n#include <fmt/format.h>\n#include <xxhash.h>\n'
                        "#include <sys/mman.h>\n",
    "src/base/test_folder.h": "#pragma once\n#include <gtest/gtest.h>\n",
    "src/text/tokenizer.h": '#pragma once\n#include "msa/result.h"\n',
    "src/text/tokenizer.cc": '#include "text/tokenizer.h"\n#include <pcre2.h>\n'
                             '#include <nlohmann/json.hpp>\n#include "base/hash.h"\n',
    "src/text/tokenizer_test.cc": '#include <gtest/gtest.h>\n#include "base/test_folder.h"\n'
                                  "#ifdef SYS_rename\n#endif\n",
    "src/kernels/backend.h": '#pragma once\n#include "base/hash.h"\n',
    "src/kernels/cpu/simd.h": "#pragma once\n#include <hwy/highway.h>\n",
    "src/kernels/cpu/scan.cc": '#include "kernels/cpu/simd.h"\n#if HWY_ONCE\n#endif\n',
    "src/kernels/CMakeLists.txt": "msa_module(kernels DEPENDS base LIBS PkgConfig::HWY)\n",
    "src/model/encoder.h": '#pragma once\n#include "kernels/backend.h"\n',
    "src/memory/bank.cc": '#include <sqlite3.h>\n#include "model/encoder.h"\n',
    "src/engine/engine.cc": '#include "model/encoder.h"\n#include "msa/msa.h"\n',
    "src/cli/options.h": "#pragma once\n#include <CLI/CLI.hpp>\n",
    "src/cli/main.cc": '#include "cli/options.h"\n#include "msa/msa.h"\n',
}

BAD_CHANGES = [
    ("an upward include", "src/base/hash.h", '#include "text/tokenizer.h"\n',
     'base must not include "text/tokenizer.h"'),
    ("an upward include in a subfolder", "src/kernels/cpu/scan.cc", '#include "model/encoder.h"\n',
     'kernels must not include "model/encoder.h"'),
    ("an upward include in a test", "src/text/tokenizer_test.cc", '#  include "engine/x.h"\n',
     '"engine/x.h" does not exist'),
    ("a sideways include", "src/model/encoder.h", '#include "text/tokenizer.h"\n',
     'model must not include "text/tokenizer.h"'),
    ("the public interface too low", "src/memory/bank.cc", '#include "msa/msa.h"\n',
     'memory must not include "msa/msa.h"'),
    ("private headers in the command line", "src/cli/main.cc", '#include "engine/engine.h"\n',
     '"engine/engine.h" does not exist'),
    ("more private headers in the command line", "src/cli/main.cc", '#include "base/hash.h"\n',
     'cli must not include "base/hash.h"'),
    ("a private header in a public one", "include/msa/msa.h", '#include "base/hash.h"\n',
     "the public header includes"),
    ("a library in a public header", "include/msa/msa.h", "#include <fmt/format.h>\n",
     "the public header includes"),
    ("a relative include", "src/text/tokenizer.cc", '#include "tokenizer.h"\n',
     "is not a path from src/"),
    ("a source that is included", "src/text/tokenizer.cc", '#include "base/hash.cc"\n',
     "is not a header"),
    ("a folder nobody declared", "src/misc/misc.h", "#pragma once\n", "is not declared"),
    ("SQLite outside memory", "src/engine/engine.cc", "#include <sqlite3.h>\n",
     "engine must not use SQLite"),
    ("a library in quotes", "src/model/encoder.h", '#include "hwy/highway.h"\n',
     "model must not use Highway"),
    ("a library nobody declared", "src/base/hash.cc", "#include <boost/any.hpp>\n",
     "no library that is declared"),
    ("a library in a header that others read", "src/text/tokenizer.h",
     "#include <nlohmann/json.hpp>\n", None),  # nobody outside text reads it: fine
    ("the same, with a reader", "src/kernels/backend.h", '#include "kernels/cpu/simd.h"\n',
     "Highway is visible in a header that src/"),
    ("a test library in a source", "src/base/hash.cc", "#include <gtest/gtest.h>\n",
     "outside a test or benchmark"),
    ("a feature switch", "src/model/encoder.h", "#ifdef MSA_CUDA\n#endif\n",
     "conditional compilation outside the kernel folders"),
    ("a system call that may be missing, outside a test", "src/base/hash.cc",
     "#ifdef SYS_rename\n#endif\n", "conditional compilation outside the kernel folders"),
    ("a feature switch in a test", "src/text/tokenizer_test.cc", "#if MSA_CUDA\n#endif\n",
     "conditional compilation outside the kernel folders"),
    ("a file that is too long", "src/base/hash.cc", "\n" * MAX_LINES, "lines, more than 800"),
    ("a CMake dependency", "src/kernels/CMakeLists.txt",
     "msa_module(kernels\n  DEPENDS base model # upward\n  LIBS x)\n",
     "kernels must not depend on model"),
]


def write_tree(root, tree):
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def self_test():
    """Number of rules that do not do what they should; prints each."""
    failures = 0
    cases = [("a good tree", None, "", None)] + BAD_CHANGES
    for title, name, addition, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            tree = dict(GOOD_TREE)
            if name is not None:
                tree[name] = tree.get(name, "") + addition
            write_tree(Path(folder), tree)
            problems = check_tree(Path(folder))
        right = not problems if expected is None else any(expected in p for p in problems)
        if not right:
            failures += 1
            print(f"self-test: {title}: expected {expected!r}, got {problems}")
    with tempfile.TemporaryDirectory() as folder:
        if not check_tree(Path(folder)):
            failures += 1
            print("self-test: an empty tree passes")
    print(f"self-test: {len(cases) + 1} cases, {failures} failed")
    return failures


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if sys.argv[1] == "--self-test":
        return 1 if self_test() else 0
    problems = check_tree(Path(sys.argv[1]))
    for problem in problems:
        print(problem)
    print(f"architecture: {len(problems)} violations" if problems else "architecture: kept")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
