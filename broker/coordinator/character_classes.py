"""RE2's classes of characters, as masks: a bit for each of ASCII, and one for everything beyond. Pure.

The names are those of RE2/J, which Kafka uses. It has no `\\p{Alpha}` and no long names of categories.
"""

from collections.abc import Iterable
from typing import Final
from unicodedata import category

BEYOND_ASCII: Final = 1 << 128
ASCII: Final = BEYOND_ASCII - 1
ALL: Final = BEYOND_ASCII | ASCII


def mask_of(characters: Iterable[str]) -> int:
    mask = 0
    for character in characters:
        code = ord(character)
        mask |= 1 << code if code < 128 else 0
    return mask


def range_of(first: str, last: str) -> int:
    return mask_of(chr(code) for code in range(ord(first), min(ord(last), 127) + 1))


DIGITS: Final = range_of("0", "9")
LOWER: Final = range_of("a", "z")
UPPER: Final = range_of("A", "Z")
WORD: Final = DIGITS | LOWER | UPPER | mask_of("_")
SPACE: Final = mask_of("\t\n\f\r ")
PERL: Final = {
    "d": DIGITS,
    "w": WORD,
    "s": SPACE,
    "D": ALL & ~DIGITS,
    "W": ALL & ~WORD,
    "S": ALL & ~SPACE,
}
POSIX: Final = {
    "alnum": DIGITS | LOWER | UPPER,
    "alpha": LOWER | UPPER,
    "ascii": ASCII,
    "blank": mask_of("\t "),
    "cntrl": range_of("\0", "\x1f") | mask_of("\x7f"),
    "digit": DIGITS,
    "graph": range_of("!", "~"),
    "lower": LOWER,
    "print": range_of(" ", "~"),
    "punct": range_of("!", "/") | range_of(":", "@") | range_of("[", "`") | range_of("{", "~"),
    "space": SPACE | mask_of("\v"),
    "upper": UPPER,
    "word": WORD,
    "xdigit": DIGITS | range_of("a", "f") | range_of("A", "F"),
}

_CATEGORIES: Final = """
L Lu Ll Lt Lm Lo M Mn Me Mc N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co Cs
""".split()
_OTHER_SCRIPTS: Final = """
Arabic Armenian Avestan Balinese Bamum Batak Bengali Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian
Cham Cherokee Coptic Cuneiform Cypriot Cyrillic Deseret Devanagari Egyptian_Hieroglyphs Ethiopic Georgian Glagolitic
Gothic Greek Gujarati Gurmukhi Han Hangul Hanunoo Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi
Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kayah_Li Kharoshthi Khmer Lao Lepcha Limbu Linear_B Lisu Lycian
Lydian Malayalam Mandaic Meetei_Mayek Mongolian Myanmar New_Tai_Lue Nko Ogham Ol_Chiki Old_Italic Old_Persian
Old_South_Arabian Old_Turkic Oriya Osmanya Phags_Pa Phoenician Rejang Runic Samaritan Saurashtra Shavian Sinhala
Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Tamil Telugu Thaana Thai Tibetan Tifinagh
Ugaritic Unknown Vai Yi
""".split()
UNICODE: Final = {
    **{name: mask_of(each for each in map(chr, range(128)) if category(each).startswith(name)) for name in _CATEGORIES},
    **dict.fromkeys(_OTHER_SCRIPTS, 0),
    "Latin": LOWER | UPPER,
    "Common": ASCII & ~(LOWER | UPPER),
    "Any": ALL,
}
"""Categories and scripts. Of those that reach beyond ASCII, only what is in it."""
