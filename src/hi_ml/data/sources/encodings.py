"""In which encoding was a text written that is no UTF-8? A guess from the words that are not plain ASCII."""

import codecs
import re
from itertools import takewhile

from charset_normalizer import from_bytes

from hi_ml.data.sources import files

MARKS = {  # a byte order mark says what the YAML need not; that of UTF-32 begins like that of UTF-16
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Of two that explain a text equally well the first is meant
_LATIN = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp850")
_EAST = {  # a codec whose first byte tells the characters of everyday use, and between which bytes these lie
    "cp949": ("euc_kr", 0xB0, 0xC8),
    "euc_jp": ("euc_jp", 0xA4, 0xCF),
    "cp932": ("euc_jp", 0xA4, 0xCF),
    "gb18030": ("gb2312", 0xB0, 0xD7),
    "big5": ("big5", 0xA4, 0xC6),
    "cp874": ("cp874", 0xA1, 0xFB),
}
_OTHERS = ("cp1251", "koi8_r", "cp866", "cp1253", "cp1255", "cp1256")
_LETTERS = [  # beside a to z, a language each, German first, Estonian last
    *("äöüß", "àâæçéèêëîïôœùûüÿ", "áéíñóúü", "áâãàçéêíóôõú", "åäöæøé", "àéèìòù", "áðéíóúýþæö", "ąćęłńóśźż"),
    *("áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ", "çğıöşüâîû", "ąčęėįšųūž"),
    *("āčēģīķļņšūž", "äõöüšž"),
]
_FOREIGN = re.compile(rb"[^\s,;.\"\d-]*[\x80-\xff][^\s,;.\"\d-]*")  # a word without digits
_SIGNS = "–—‘’‚“”„…•€§«»\xa0"  # stand in any language
_SAMPLE = 1 << 15  # bytes of different words that are looked at
_ZEROS = 0.02  # share of every other byte, none of the others, from which on a text without a mark is UTF-16


def likely_encoding(location: str) -> str:
    """Guess the encoding of a text file, as Python calls it."""
    first = files.peek(location)
    if marked := [name for mark, name in MARKS.items() if first.startswith(mark)]:
        return marked[0]
    for name, high in (("utf-16-le", first[1::2]), ("utf-16-be", first[::2])):
        if high.count(0) > _ZEROS * len(high) and first.count(0) == high.count(0):
            return name
    decoder, words = codecs.getincrementaldecoder("utf-8")(), dict[bytes, None]()
    utf8, rest = True, b""
    with files.stream(location) as file:
        for block in takewhile(bool, iter(lambda: file.read(files.PEEK), b"")):
            try:
                utf8 = utf8 and decoder.decode(block) is not None
            except UnicodeDecodeError:
                utf8 = False
            lines = (rest + block).rpartition(b"\n")
            rest = lines[2]
            words |= dict.fromkeys(_FOREIGN.findall(lines[0]))
            if not utf8 and sum(map(len, words)) > _SAMPLE:
                break
    return "utf-8" if utf8 else _judged(b"\n".join(words or [rest])[:_SAMPLE])


def _judged(words: bytes) -> str:
    """The library tells the script, and what a language writes the encoding of that script."""
    best = from_bytes(words, cp_isolation=[*_LATIN, *_EAST, *_OTHERS]).best()
    named = best.encoding if best else _LATIN[0]
    family = next((family for family in (_LATIN, tuple(_EAST)) if named in family), (named,))
    return max(family, key=lambda encoding: _explained(words, encoding))


def _explained(words: bytes, encoding: str) -> float:
    """Say how well a decoding is explained by languages that are written so: 0 not at all, 2 fully by one of them."""
    text = "".join(one for one in words.decode(encoding, "replace") if one not in _SIGNS)
    if encoding in _EAST:
        codec, low, high = _EAST[encoding]
        leads = [one.encode(codec, "replace")[0] for one in text if not one.isascii()]
        return sum(low <= lead <= high for lead in leads) / max(len(leads), 1)
    foreign = [{one for one in word.lower() if not one.isascii()} for word in text.split()]
    each = sum(any(word <= set(letters) for letters in _LETTERS) for word in foreign)
    most = max(sum(word <= set(letters) for word in foreign) for letters in _LETTERS)
    return (each + most) / max(len(foreign), 1)
