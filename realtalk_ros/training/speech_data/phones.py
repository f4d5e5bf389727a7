# SPDX-License-Identifier: Apache-2.0
"""The phones of the coarticulation model, and espeak-ng's IPA in terms of them.

Phones are ARPAbet without stress, plus UE and OE for front rounded vowels (French u, eu), SIL, and
BH for the b of Spanish between vowels, for which the lips come near each other but do not meet.
"""

import unicodedata

SIL = "SIL"
PHONES: tuple[str, ...] = tuple(
    "SIL P B M F V TH DH T D K G NG CH JH SH ZH S Z N L R HH Y W "
    "AA AH AE EH ER IH IY AO UH UW UE OE AW AY EY OW OY BH".split()  # stored data hold indices
)
PHONE_INDEX = {phone: i for i, phone in enumerate(PHONES)}

BILABIALS = frozenset("PBM")
LABIODENTALS = frozenset("FV")
APPROXIMANTS = frozenset({"BH"})  # of the lips
STOPS = frozenset("P B T D K G CH JH".split())
VOWELS = frozenset("AA AH AE EH ER IH IY AO UH UW UE OE AW AY EY OW OY".split())
ROUNDED = frozenset("W AO UH UW UE OE OW OY SH ZH CH JH".split())

# One IPA letter -> phone; a letter that is missing here is silent or a modifier.
_LETTERS = dict(
    zip(
        "p b m f v θ ð t d s z ʃ ʒ n l r k ɡ g ŋ h j w".split(),
        "P B M F V TH DH T D S Z SH ZH N L R K G G NG HH Y W".split(),
        strict=True,
    )
)
_LETTERS |= dict(
    ɱ="M", β="BH", ɸ="F", ʋ="V", ɹ="R", ɾ="D", ɽ="R", ʀ="K", ʁ="K", ɻ="R", ɲ="N", ɳ="N", ɴ="NG",
    ʎ="L", ɭ="L", ɫ="L", ɬ="L", ʈ="T", ɖ="D", c="K", ɟ="G", q="K", x="HH", χ="HH", ɣ="G", ç="HH",
    ʝ="Y", ɕ="SH", ʑ="ZH", ʂ="SH", ʐ="ZH", ɦ="HH", ħ="HH", ʕ="AA", ɰ="G", ɥ="W", ʍ="W", ʙ="B",
    i="IY", y="UE", ɪ="IH", ʏ="UE", ɨ="IH", ʉ="UW", ɯ="IH", u="UW", ʊ="UH", e="EH", ø="OE",
    ɘ="AH", ɵ="UH", ɤ="AH", o="AO", ə="AH", ɛ="EH", œ="OE", ɜ="AH", ɚ="ER", ɝ="ER", ʌ="AH",
    ɔ="AO", æ="AE", a="AA", ɐ="AH", ɑ="AA", ɒ="AO", ᵻ="IH",
)  # fmt: skip
_GROUPS = {
    "tʃ": "CH", "dʒ": "JH", "tɕ": "CH", "dʑ": "JH", "tʂ": "CH", "dʐ": "JH", "ts": "T S",
    "dz": "D Z", "eɪ": "EY", "aɪ": "AY", "aʊ": "AW", "ɔɪ": "OY", "oɪ": "OY", "oʊ": "OW",
    "əʊ": "OW", "ɔø": "OY", "ɜː": "ER", "ɛɪ": "EY", "œy": "OY", "əl": "AH L", "iə": "IY AH",
    "pf": "P F",
}  # fmt: skip


def from_ipa(text: str) -> list[str]:
    """One phoneme event of espeak-ng in IPA -> phones; [] lengthens the phone before."""
    if text.startswith("("):  # a language switch marker
        return []
    text = unicodedata.normalize("NFC", text.strip("ˈˌ"))
    if text in _GROUPS:
        return _GROUPS[text].split()
    plain = "".join(c for c in text if not unicodedata.combining(c) and c not in 'ːˑʲʰˠˈˌ-"^')
    if plain in _GROUPS:
        return _GROUPS[plain].split()
    out: list[str] = []
    for letter in plain:
        phone = _LETTERS.get(letter) or _LETTERS.get(unicodedata.normalize("NFD", letter)[0])
        if phone and (not out or out[-1] != phone):
            out.append(phone)
    return out
