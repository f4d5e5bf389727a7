# SPDX-License-Identifier: Apache-2.0
"""Texts that the speech synthesis engines read."""

from __future__ import annotations

import random

SHORTEST, LONGEST = 40, 160  # characters of an utterance
SENTENCES = """
My mother bought a big bunch of purple balloons for the baby.
Please put the paper back in the box before five.
Five very fine voices have filled the vast valley.
We would wonder why the woman wore wool in warm weather.
Show me the shiny shoes she chose for the church.
The quick brown fox jumps over the lazy dog.
People who move to the moon must remember to bring milk.
Good morning, how are you today, and what may I do for you?
The robot opened the door and walked slowly into the kitchen.
I think that three thousand thin threads are enough.
He saw the sea and said so to his sister Susan.
Bob paid Pam a penny for a pumpkin pie and a map.
Our boat floats over the old stone bridge at noon.
Yes, you may use the yellow yacht this year.
Could you look at the book which I took from the hook?
It has been a long night, and everyone wants to sleep.
Far away from the farm a family of foxes found food.
Maybe tomorrow we may meet my uncle by the lamp.
Turn left at the corner, then go straight for two hundred meters.
The temperature will reach twenty five degrees by afternoon.
Who knew that blue glue could do such damage to a shoe?
Wait a moment, I am looking for your appointment.
A happy puppy jumped up and grabbed the apple.
They have never seen such a heavy stove above the cave.
George and Jane enjoyed the orange juice on the large bridge.
Leave the light on until we all arrive.
Nobody knows when the next train to the mountains will come.
Boys and girls enjoy noisy toys.
How now, brown cow, standing on the ground outside the house?
Each cheap chair matches the kitchen.
""".strip().splitlines()

# Syllables that any voice can speak: labials in all contexts, of which ordinary text has too few.
_ONSETS = "p b m f v w t d s z k g l n r sh ch pl br fr sp st sm".split()
_NUCLEI = "a e i o u ai ou oi ee oo".split()
_CODAS = ["", "", "", "p", "m", "b", "f", "v", "n", "s", "t", "l", "k"]


def pseudo_sentence(rng: random.Random) -> str:
    """A sentence of made-up words."""

    def word() -> str:
        syllables = rng.choice((1, 1, 2, 2, 3))
        return "".join(rng.choice(_ONSETS) + rng.choice(_NUCLEI) for _ in range(syllables)) + (
            rng.choice(_CODAS)
        )

    words = [word() for _ in range(rng.randint(4, 9))]
    if rng.random() < 0.5:
        words[len(words) // 2] += ","
    return " ".join(words) + "."


def utterance(pool: list[str], rng: random.Random) -> str:
    """Random texts of the pool, joined until they make an utterance of a few seconds."""
    text = rng.choice(pool)
    while len(text) < SHORTEST:
        text = f"{text.rstrip(' .,;:')}. {rng.choice(pool)}"
    return text if len(text) <= LONGEST else text[:LONGEST].rpartition(" ")[0] or text[:LONGEST]
