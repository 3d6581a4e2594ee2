"""What is found of a forgotten text in other texts, and what is left when it is taken out."""

from __future__ import annotations

import json

import pytest

from atlas_mcp.memory.redacting import MARK, Redactor, bare, fingerprint

SECRET = "The vault at Lund opens with quagga71x, and Ada keeps the second key."


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (SECRET, f"{MARK}."),
        ("He said: THE VAULT  at Lund\nopens with… and left.", f"He said: {MARK}… and left."),
        ("We know that Ada keeps the second key.", f"We know that {MARK}."),
        ("We know, and Ada keeps the second ke", f"We know, {MARK}"),
        ("It is quagga71x!", f"It is {MARK}!"),
        ("a **quagga71x** b", f"a **{MARK}** b"),
        ("Ada keeps the keys of the vault.", None),
        ("Nothing of it.", None),
        ("", None),
    ],
)
def test_stretches_of_five_words_and_telling_words_are_taken_out(text: str, left: str | None) -> None:
    redactor = Redactor([SECRET])
    assert redactor.mend(text) == (text if left is None else left)
    assert redactor.holds(text) == (left is not None)


def test_a_text_in_json_within_json_is_found_and_the_form_stays() -> None:
    value = {"said": json.dumps({"lines": [f"before\n{SECRET}\nafter"], "n": 1}), "kept": "x"}
    made = Redactor([SECRET]).mend(json.dumps(value))
    inner = json.loads(json.loads(made)["said"])
    assert inner == {"lines": [f"before\n{MARK}.\nafter"], "n": 1}
    assert json.loads(made)["kept"] == "x"


def test_a_text_that_was_escaped_and_cut_is_found_by_its_words() -> None:
    cut = json.dumps(f"see\n{SECRET}")[:-20]
    assert "Lund" not in Redactor([SECRET]).mend(cut)


def test_what_holds_nothing_is_the_very_same_object() -> None:
    value = {"a": ["x", {"b": "y"}], "c": None, "d": 3}
    assert Redactor([SECRET]).mend(value) is value


@pytest.mark.parametrize(
    ("secret", "text", "left"),
    [
        (
            "私は毎朝コーヒーを飲みながら新聞を読みます",
            "彼は私は毎朝コーヒーを飲みながら新聞を読みます。",
            f"彼は{MARK}。",
        ),
        ("Он хранит ключ от сейфа в Лунде", "Знаю: он хранит ключ от сейфа.", f"Знаю: {MARK}."),
        ("El código está en la caja fuerte 🗝 azul", "el CÓDIGO está en la caja", MARK),
        ("likes tea", "She likes\n tea.", f"She {MARK}."),
    ],
)
def test_every_script_is_found(secret: str, text: str, left: str) -> None:
    assert Redactor([secret]).mend(text) == left


def test_telling_words_of_a_long_text_are_sought_only_beside_it() -> None:
    long = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)} and" for n in range(60)) + " ends in quagga71x now"
    redactor = Redactor([long])
    assert redactor.mend("a mention of quagga71x alone") == "a mention of quagga71x alone"
    assert redactor.mend("a mention of quagga71x alone", True) == f"a mention of {MARK} alone"


def test_a_text_that_is_too_short_is_sought_nowhere_and_that_is_told() -> None:
    redactor = Redactor(["tea", "..."])
    assert (redactor.too_short, bool(redactor), redactor.mend("tea time")) == (2, False, "tea time")


def test_lines_of_which_nothing_is_left_go() -> None:
    assert bare(f"- {MARK}.\nShe lives in Lund.\n{MARK}") == "She lives in Lund."


def test_a_fingerprint_knows_neither_case_nor_blanks() -> None:
    assert fingerprint("Likes  Tea\n") == fingerprint("likes tea") != fingerprint("likes teas")
