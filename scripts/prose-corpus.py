#!/usr/bin/env python3
"""Makes passages to train on out of the documentation installed on a Debian machine.

Usage: scripts/prose-corpus.py OUTPUT_FOLDER [--root FOLDER] [--man-pages N]

Reads what is there of the packages python3-doc, postgresql-doc-15 and the manual pages (sections 1,
5, 7 and 8), and writes one JSON Lines file for each into OUTPUT_FOLDER, made if need be:
{"id", "title", "text", "source"}, one passage of 30 to 110 words per line. To install them all:

    apt-get install python3-doc postgresql-doc-15 manpages man-db groff

--root FOLDER    where the file system of the machine begins (/)
--man-pages N    at most so many manual pages of a section, in the order of their names (1000)

The passages are for training only, through the setting `files` of the task prose. Each package's
copyright file says under which licence its text stands.
"""

import argparse
import gzip
import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys

MIN_WORDS, MAX_WORDS = 30, 110
MAN_SECTIONS = ("1", "5", "7", "8")


class Page(html.parser.HTMLParser):
    """Paragraphs of an HTML page, each with the headings it stands under."""

    BLOCKS = {"p", "li", "dd", "td"}
    HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4}
    SKIPPED = {"script", "style", "pre", "nav", "table", "footer", "head"}
    SKIPPED_CLASSES = re.compile(r"sphinxsidebar|related|footer|navheader|navfooter|toc\b|headerlink|genindex")
    VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.paragraphs = []  # (headings, text)
        self._headings = []
        self._open = []  # (tag, whether its content is skipped)
        self._text = []
        self._heading = None

    def _flush(self):
        text = " ".join("".join(self._text).replace("¶", "").split())
        self._text = []
        if not text:
            return
        if self._heading is not None:
            self._headings = self._headings[: self._heading - 1] + [text]
        else:
            self.paragraphs.append((tuple(self._headings), text))

    def handle_starttag(self, tag, attributes):
        if tag in self.VOID:
            return
        classes = dict(attributes).get("class") or ""
        skipped = tag in self.SKIPPED or bool(self.SKIPPED_CLASSES.search(classes))
        skipped = skipped or any(inside for _, inside in self._open)
        if not skipped and (tag in self.BLOCKS or tag in self.HEADINGS):
            self._flush()
            self._heading = self.HEADINGS.get(tag)
        self._open.append((tag, skipped))

    def handle_endtag(self, tag):
        if tag not in (name for name, _ in self._open):
            return
        while True:
            name, skipped = self._open.pop()
            if not skipped and (name in self.BLOCKS or name in self.HEADINGS):
                self._flush()
                self._heading = None
            if name == tag:
                return

    def handle_data(self, data):
        if not any(skipped for _, skipped in self._open):
            if any(name in self.BLOCKS or name in self.HEADINGS for name, _ in self._open):
                self._text.append(data)

    def close(self):
        super().close()
        self._flush()


def pack(paragraphs):
    """Joins paragraphs under the same headings to passages of MIN_WORDS to MAX_WORDS words."""
    headings, words = None, []
    for under, text in paragraphs:
        new = text.split()
        if under != headings or len(words) + len(new) > MAX_WORDS:
            if headings is not None and len(words) >= MIN_WORDS:
                yield headings, " ".join(words)
            headings, words = under, []
        if len(new) <= MAX_WORDS:
            words += new
            continue
        # A long paragraph is cut where sentences end.
        for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", text):
            new = sentence.split()
            if words and len(words) + len(new) > MAX_WORDS:
                if len(words) >= MIN_WORDS:
                    yield headings, " ".join(words)
                words = []
            words += new[:MAX_WORDS]
    if headings is not None and len(words) >= MIN_WORDS:
        yield headings, " ".join(words)


def html_passages(package, folder):
    for file in sorted(folder.rglob("*.html")):
        if file.is_symlink() or "genindex" in file.name or "whatsnew/changelog" in str(file):
            continue
        page = Page()
        page.feed(file.read_text(encoding="utf-8", errors="replace"))
        page.close()
        name = file.relative_to(folder).as_posix()
        for number, (headings, text) in enumerate(pack(page.paragraphs)):
            # The page's own heading and the nearest one.
            title = ": ".join(dict.fromkeys(page.paragraphs[0][0][:1] + headings[-1:])) or file.stem
            yield {"id": f"{package}/{name}#{number}", "title": title, "text": text, "source": f"{package}/{name}"}


def man_text(file):
    """A manual page as plain text without hyphenation; nothing if it cannot be formatted."""
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError):
        return ""
    if raw.startswith(b".so "):
        return ""  # only names another page
    command = ["groff", "-t", "-K", "utf8", "-mandoc", "-Tutf8", "-rHY=0", "-rLL=2000n", "-P-cbou"]
    done = subprocess.run(command, input=raw, capture_output=True, check=False)
    return done.stdout.decode("utf-8", errors="replace")


def man_passages(folder, limit):
    for section in MAN_SECTIONS:
        files = sorted((folder / f"man{section}").glob(f"*.{section}*"))
        for file in [file for file in files if not file.is_symlink()][:limit]:
            name = file.name.split(".")[0]
            paragraphs, heading, block = [], "", []
            for line in man_text(file).splitlines() + [""]:
                if line and not line.startswith(" "):
                    heading = " ".join(line.split()).capitalize()
                elif line.strip():
                    block.append(line.strip())
                elif block:
                    # Tables and examples have more signs than words.
                    text = " ".join(" ".join(block).split())
                    if sum(c.isalpha() or c == " " for c in text) > 0.85 * len(text):
                        paragraphs.append(((f"{name}({section})", heading), text))
                    block = []
            for number, (headings, text) in enumerate(pack(paragraphs)):
                yield {"id": f"man/{name}.{section}#{number}", "title": ": ".join(part for part in headings if part),
                       "text": text, "source": f"man/{file.name}"}


def write(file, passages):
    count = 0
    seen = set()
    with open(file, "w", encoding="utf-8") as stream:
        for passage in passages:
            if passage["text"] in seen:
                continue
            seen.add(passage["text"])
            stream.write(json.dumps(passage, ensure_ascii=False) + "\n")
            count += 1
    if count == 0:
        file.unlink()
    else:
        print(f"{file}: {count} passages")
    return count


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path("/"))
    parser.add_argument("--man-pages", type=int, default=1000)
    options = parser.parse_args()

    doc = options.root / "usr/share/doc"
    total = 0
    options.output.mkdir(parents=True, exist_ok=True)
    for package, folders in {
        "python3-doc": [doc / "python3.11/html", doc / "python3-doc/html", doc / "python3/html"],
        "postgresql-doc-15": [doc / "postgresql-doc-15/html"],
    }.items():
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            print(f"{package}: not installed, left out", file=sys.stderr)
            continue
        total += write(options.output / f"{package}.jsonl", html_passages(package, folder.resolve()))
    man = options.root / "usr/share/man"
    if shutil.which("groff") is None or not man.is_dir():
        print("manual pages: not there or no groff to format them, left out", file=sys.stderr)
    else:
        total += write(options.output / "manpages.jsonl", man_passages(man, options.man_pages))
    if total == 0:
        sys.exit(f"{options.root}: no documentation found; install python3-doc, postgresql-doc-15 or manpages")


if __name__ == "__main__":
    main()
