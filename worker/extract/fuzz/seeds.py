#!/usr/bin/env python3
"""Writes the first inputs of a fuzz target, and its dictionary, out of the texts in the unit tests.

    seeds.py html|xml|charset|selectors|ipc DIRECTORY

Every page and selector that a test names is a string literal, so a test that is added seeds the next run. The
directory gets one file per text, and `DIRECTORY.dict`.
"""

import hashlib
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
LITERAL = re.compile(r'r(#*)"(.*?)"\1|b?"((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPE = re.compile(r"\\(?:x(..)|u\{([0-9a-fA-F]+)\}|(\n\s*)|(.))", re.DOTALL)
SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}

SOURCES = {
    "html": ["worker/extract/src/{same,soup}.rs", "worker/extract/src/tests/*.rs", "tests/src/origin/*.rs"],
    "xml": ["worker/extract/src/xml/tests.rs", "tests/src/origin/feeds.rs"],
    "charset": ["worker/extract/src/charset.rs", "worker/extract/src/tests/{mod,standard}.rs"],
    "ipc": [],
    "selectors": ["shared/select/src/**/*.rs", "worker/extract/src/tests/*.rs", "worker/extract/src/**/tests.rs"],
}
# Messages as they are on a channel: a tag, then the fields. Pieces are cut at CUT of the target.
OUTCOME = b"\x07" + bytes(8) + b"\x02"
MESSAGES = [b"\0\0\4\3abc\1", b"\0\1\3off", b"\0\2\3why", b"\0\4\4line", b"\0\5\0\0\0",
            b"\0\5\1\1" + OUTCOME + b"\2{}", b"\1\5\1\1\xff\xfe|\0" + OUTCOME + b"\2{}",
            b"\0\1\1\7\1\0\0\0\0\x0ahttp://a/b\0", b"\0\2", b"\0\3"]
# Where pieces are cut, and the numbers of two, four and eight bytes that mean most.
MARKS = [b"\xff\xfe|", b"\xfb\xff\xff", b"\xfc" + b"\xff" * 4, b"\xfd" + b"\xff" * 8]
# A text of the tests in the encodings of the old web.
TITLES = {"windows-1252": "Café – 5 €", "koi8-r": "Съешь ещё", "shift_jis": "日本語", "euc-kr": "한국어", "gbk": "欢迎",
          "big5": "歡迎", "iso-2022-jp": "東京", "utf-8": "☃ 東京", "utf-16le": "☃ 東京", "utf-16be": "☃ 東京"}


def unescape(match):
    code, point, _, char = match.groups()
    if code or point:
        return chr(int(code or point, 16))
    return SIMPLE.get(char, char) if char else ""


def files(pattern):
    start, _, rest = pattern.partition("{")
    names, _, end = rest.partition("}")
    for name in names.split(",") if rest else [""]:
        yield from sorted(ROOT.glob(start + name + end))


def literals(patterns):
    for pattern in patterns:
        for path in files(pattern):
            for match in LITERAL.finditer(path.read_text()):
                _, raw, text = match.groups()
                yield raw if raw is not None else ESCAPE.sub(unescape, text)


def inputs(target):
    if target == "ipc":
        yield from MESSAGES
        return
    texts = list(literals(SOURCES[target]))
    if target == "selectors":
        for text in texts:
            yield (text if "=" in text else f"x={text}").encode()
            yield f"x=b\n{text}".encode()
    elif target == "charset":
        for label, text in TITLES.items():
            for page in (f"<meta charset={label}><title>{text}", f"<?xml version='1.0' encoding='{label}'?><t>{text}</t>"):
                for header in ("", label, "utf-8"):
                    yield header.encode() + b"\n" + page.encode(label)
        yield from (b"\n" + text.encode("latin-1", "ignore") for text in texts if "<" in text)
    else:
        yield from (text.encode() for text in texts if "<" in text)


def main(target, directory):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for data in inputs(target):
        (directory / hashlib.sha1(data).hexdigest()[:16]).write_bytes(data)
    words = {text.encode() for text in literals(SOURCES[target]) if 0 < len(text) <= 24 and text.isascii()}
    with open(f"{directory}.dict", "w", encoding="ascii") as dictionary:
        for word in sorted(words or MARKS):
            quoted = "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in word)
            dictionary.write(f'"{quoted}"\n')


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SOURCES:
        sys.exit(__doc__)
    main(*sys.argv[1:])
