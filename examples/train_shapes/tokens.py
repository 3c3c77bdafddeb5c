"""Builds CLIP's kind of byte-level vocabulary for the grammar's words.

Text of any kind can be written with it, since all 256 bytes are in it; the words of the grammar and some common
English ones are single tokens.
"""

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from .grammar import sample_scene

BEGIN = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"
MERGE_LIMIT = 600
COMMON_WORDS = (
    "the of in on at to and with is it this that for as by from photo painting cat dog car tree house sun moon sky sea "
    "mountain flower bird fish person man woman city night day beautiful bright dark style art digital high quality "
    "one two three four outline shape color colour simple abstract background image picture drawing detailed"
)


def byte_letters() -> list[str]:
    """The letter that stands for each byte 0..255: itself where it can be printed, else one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters, spare = [], 0x100
    for byte in range(256):
        if byte in printable:
            letters.append(chr(byte))
        else:
            letters.append(chr(spare))
            spare += 1
    return letters


def count_words(seed: int, scenes: int = 4000) -> Counter[str]:
    """Counts the words of sampled captions, with some common English words added."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    for _ in range(scenes):
        counts.update(re.findall(r"[a-z]+|[^\sa-z]", sample_scene(rng).caption))
    for word in COMMON_WORDS.split():
        counts[word] += 5
    return counts


def learn_merges(counts: Mapping[str, int], limit: int) -> list[tuple[str, str]]:
    """Byte-pair encoding: joins the most frequent neighbours again and again, until all words are whole or `limit`.

    The last letter of a word carries CLIP's end mark. Ties go to the pair that is last in the alphabet.
    """
    words = {(*word[:-1], word[-1] + WORD_END): count for word, count in counts.items()}
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols, count in words.items():
            for pair in itertools.pairwise(symbols):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = {_join(symbols, best): count for symbols, count in words.items()}
    return merges


def _join(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return tuple(joined)


def vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Numbers all tokens: bytes, bytes that end a word, merged pairs, begin, end."""
    letters = byte_letters()
    tokens = [*letters, *(letter + WORD_END for letter in letters), *(a + b for a, b in merges), BEGIN, END]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def write_vocabulary(folder: Path, seed: int) -> None:
    """Writes vocab.json and merges.txt, from which transformers' CLIPTokenizer is made."""
    merges = learn_merges(count_words(seed), MERGE_LIMIT)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary(merges), ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
