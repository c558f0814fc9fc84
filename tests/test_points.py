"""Points: what a list lists is found whole, in order and in its place, whatever the text."""

from hypothesis import given
from hypothesis import strategies as st

from cotdrift.points import points

WORDS = st.text(alphabet="abcdefg hij", min_size=1, max_size=30).map(lambda text: " ".join(f"x{text}".split()))
MARKS = st.sampled_from(["- ", "* ", "• ", "[ ] ", "- [x] ", "(a) "])
HOSTILE = st.text(alphabet=st.sampled_from("ab.:;|-*_#<>`~ \t\n\r\x0b\x1c\u2028[]()1iIvX•“🙂\x00⟦⟧\ud800"), max_size=300)


def said(text: str) -> list[str]:
    return [text[start:end] for start, end in points(text)]


@given(
    st.lists(WORDS, min_size=1, max_size=12, unique=True),
    MARKS,
    st.sampled_from(["", "Here is the rubric:\n\n", "# Rubric\n", "**Rubric**\n\n"]),
)
def test_the_items_of_a_list_are_its_points(items: list[str], mark: str, before: str) -> None:
    assert said(before + "\n".join(mark + item for item in items)) == items
    assert said(before + "\n\n".join(mark + item for item in items) + "\n\nThat is all.") == items


@given(st.lists(WORDS, min_size=1, max_size=12, unique=True))
def test_numbered_items_are_points_and_lines_under_one_belong_to_it(items: list[str]) -> None:
    assert said("\n".join(f"{place}. {item}" for place, item in enumerate(items, 1))) == items
    assert said("\n".join(f"**{place})** {item}\n   more of it" for place, item in enumerate(items, 1))) == [
        f"{item}\n   more of it" for item in items
    ]


@given(st.lists(WORDS, min_size=2, max_size=9, unique=True))
def test_what_stands_further_in_is_a_point_under_a_heading_and_else_belongs_to_the_item_above(items: list[str]) -> None:
    first, second = items[:1], items[1:]
    inner = [*(f"  - {item}" for item in first)]
    assert said("\n".join(["- Honest:", *inner, "- Form:", *(f"    * {item}" for item in second)])) == first + second
    assert said("\n".join(["- Honest", *inner, "- Form"])) == ["\n".join(["Honest", *inner]), "Form"]


@given(st.lists(st.tuples(WORDS, st.integers(1, 9)), min_size=1, max_size=8, unique=True))
def test_the_rows_of_a_table_are_points_but_for_its_head(rows: list[tuple[str, int]]) -> None:
    lines = [f"| {item} | {marks} |" for item, marks in rows]
    assert said("\n".join(["| Point | Marks |", "|:--|--:|", *lines])) == lines


def test_without_a_list_the_sentences_are_points_and_an_empty_text_has_none() -> None:
    assert said("It must be even. It should be honest.") == ["It must be even.", "It should be honest."]
    assert [said(text) for text in ("", " \n\t", "---", "-", "- \n- ", "```\n```")] == [[]] * 6


def test_what_is_said_again_word_for_word_is_no_other_point() -> None:
    assert said("- Be even.\n- Be honest.\n- be  even.\n") == ["Be even.", "Be honest."]
    assert said("It is even. " * 40) == ["It is even."]


@given(HOSTILE)
def test_whatever_the_text_points_stand_in_it_in_order_apart_and_are_not_blank(text: str) -> None:
    found = points(text)
    assert found == points(text)
    edges = [edge for place in found for edge in place]
    assert edges == sorted(edges)
    assert all(0 <= start < end <= len(text) and text[start:end] == text[start:end].strip() for start, end in found)


def test_a_long_text_of_marks_takes_no_longer_than_its_length_asks() -> None:
    for text in (
        "- " * 20_000,
        "-\n" * 20_000,
        " " * 50_000 + "x",
        "|" * 50_000,
        "**" * 20_000,
        "_" * 50_000 + "x",
        " >" * 20_000,
        "<" * 50_000,
    ):
        points(text)  # where one of the patterns tried all ways to part the text, this would not end
