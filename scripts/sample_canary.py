"""The canary's texts: every length class of the ladder with padded rows, and marks of all kinds. They have few lengths, so a GPU runs few
batch shapes, and contain letters and digits, which every vocabulary has."""

from __future__ import annotations

import random
import string

from sample_text import HOSTILE, compose, lexicon

SEED = 256
PROSE = {
    6: 48,
    14: 74,
    30: 22,
    39: 8,
    62: 4,
    75: 5,
    126: 1,
    127: 1,
    143: 3,
    254: 1,
    255: 1,
    267: 1,
    510: 1,
    511: 1,
    531: 1,
    1022: 1,
    1023: 1,
}
"""Chinese texts by characters, of which BERT's tokenizers make two tokens more. 39, 75, 143, 267 and 531 are padded by 1, 3, 7, 3 and 11
on the padded ladder (harness/evaluate/encode/canonical/shapes.py). 126 and 127, 254 and 255, ... are as long as a usual `max_len`, and one
longer."""
CODES = {6: 29, 14: 20, 30: 4}
"""Texts of single letters, of either case, and digits, by tokens: a tokenizer that knows no Chinese character still tells them apart."""
MARKED = (
    *("Café crème à Zürich, naïve façade, coöperate", "el niño del señor Ångström: über-große Straße", "Đặng Phạm học tiếng Việt ở Huế"),
    *("résumé RÉSUMÉ resume Resume", "e\u0301 n\u0303 u\u0308 decomposed, é ñ ü composed", "İstanbul ılık ŠŽČ ôûî"),
    *(
        "New York TIMES and iPhone 15 Pro MAX",
        "HTTP GET /Index.HTML by McDonald",
        "<pad> [PAD] <s> </s> [CLS] [SEP] <unk> 字",
        "Beijing BEIJING beijing 北京",
    ),
    *("ＡＢＣ ａｂｃ １２３ ４５６ ！？", "ｆｕｌｌ－ｗｉｄｔｈ： ￥５００ （括号）", "㈱ ㍿ ① Ⅳ ㎏ ℃"),
    *("😀🎉👍 好评", "👩\u200d👩\u200d👧 🏳️\u200d🌈 一家人", "❤️ 5⭐ 推荐👏🏽"),
    *("㐀㐁 𠀀𠀁𪚥 生僻字", "龘靐齉爩 麤鱻 犇骉", "淼焱垚 彧翀 堃喆"),
    *("漢字 汉字 繁體 简体", "ひらがな カタカナ 한국어 العربية", "“中文”，标点。！？…—《》", "1,234.56% -7e-3 3/4 x²"),
)
"""Accents composed and decomposed, capitals, special tokens spelled out, full-width and compatibility forms, emoji with joiners, rare Han,
other scripts."""
GENRES = ("abstract", "answer", "passage", "report")  # without numbers: tokenizers make one token of them or several


def canary_texts() -> list[str]:
    """256 different texts, the same every time, in an order that mixes lengths."""
    rng = random.Random(SEED)
    texts = [_prose(rng, length) for length, number in PROSE.items() for _ in range(number)]
    texts += [_code(rng, length) for length, number in CODES.items() for _ in range(number)]
    texts += [_prose(rng, 14) + hostile for hostile in HOSTILE]
    texts += MARKED
    rng.shuffle(texts)
    if len(set(texts)) != 256:
        raise ValueError(f"{len(set(texts))} different texts instead of 256: choose another SEED")
    return texts


def _prose(rng: random.Random, characters: int) -> str:
    """Sentences about one field, cut to a number of characters. No Latin words: tokenizers make different numbers of tokens of them."""
    genre, field = rng.choice(GENRES), rng.choice(list(lexicon().fields))
    text = ""
    while len(text) < characters:
        sentence = compose(rng, genre, field)
        text += sentence if sentence.lower() == sentence.upper() else ""
    return text[:characters]


def _code(rng: random.Random, tokens: int) -> str:
    return " ".join(rng.choice(string.ascii_letters + string.digits) for _ in range(tokens))
