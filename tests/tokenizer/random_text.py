"""Random strings that are hard on tokenizers, from a seeded generator."""

import random
import unicodedata

SPACES = ["\t", "\n", "\v", "\f", "\r", " ", "\x85", "\xa0", "\u1680", "\u180e", "\u2000",
          "\u2003", "\u200b", "\u200d", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff"]
WORDS = ["the", "Hello", "world", "it's", "WE'LL", "I'd", "'S", "don't", "naïve", "Straße", "ﬁne",
         "İstanbul", "привет", "Ελλάδα", "שלום", "مرحبا", "नमस्ते", "สวัสดี", "你好", "こんにちは",
         "한국어", "e\u0301", "o\u0308\u0323", "ŀ", "Ⅷ", "½", "x²", "١٢٣", "१२३", "12345678", "3.14",
         "1,000", "foo_bar", "C++", "a-b", "http://x.y/z?q=1", "__init__", "\\n", "{}", "...", "!!!",
         "—", "“quoted”", "¿qué?", "▁", "▁▁a", "Ġ", "Ċ", "</w>", "##x", "<0x0A>", "'ſ", "ſ", "K"]
EMOJI = ["😀", "👍🏽", "👨\u200d👩\u200d👧", "🇩🇪", "❤️", "☺", "🏴\U000e0067\U000e0062\U000e007f"]
RANGES = [(0x20, 0x7E), (0xA1, 0x17F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF),
          (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF),
          (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2070, 0x209F), (0x2100, 0x218F), (0x2460, 0x24FF),
          (0x3000, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xADFF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF),
          (0x10300, 0x1034F), (0x1D400, 0x1D7FF), (0x1F300, 0x1F64F), (0x20000, 0x200FF)]


def random_char(rng: random.Random) -> str:
    """An assigned character, so that the age of a Unicode table does not matter much."""
    while True:
        low, high = rng.choice(RANGES) if rng.random() < 0.9 else (0, 0x2FFFF)
        char = chr(rng.randint(low, high))
        if unicodedata.category(char) not in ("Cn", "Cs", "Co"):
            return char


def random_piece(rng: random.Random, tokens: list[str]) -> str:
    kind = rng.randrange(12)
    if kind <= 3:
        return rng.choice(WORDS)
    if kind == 4:
        return rng.choice(SPACES) * rng.choice([1, 1, 2, 3, 7])
    if kind == 5:
        return "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 5)))
    if kind == 6:
        return rng.choice(EMOJI)
    if kind == 7:
        return str(rng.randrange(10 ** rng.randint(1, 12)))
    if kind == 8 and tokens:
        token = rng.choice(tokens)
        return token if rng.random() < 0.8 else token[:rng.randint(0, len(token))]
    if kind == 9:
        return rng.choice(["\r\n", "\n\n", "\r", " \n ", "\x00", "\x7f", "\x1b[0m"])
    if kind == 10:
        return "".join(random_char(rng) for _ in range(rng.randint(1, 8)))
    return rng.choice("abcdefghijklmnopqrstuvwxyzABCXYZ.,;:'\"-") * rng.choice([1, 1, 2, 3, 40])


def random_text(rng: random.Random, tokens: list[str]) -> str:
    parts = []
    for _ in range(rng.choice([0, 1, 2, 3, 5, 8, 13, 21])):
        parts.append(random_piece(rng, tokens))
        if rng.random() < 0.5:
            parts.append(" ")
    if rng.random() < 0.005:
        parts.append(rng.choice(["a", "ab", "0", " ", "é", "好"]) * rng.randint(500, 3000))
    return "".join(parts)
