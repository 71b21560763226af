from __future__ import annotations

from bench.report import Section, lines_of, markdown_of

SECTION = Section(
    title="styling: a picture",
    notes=["3 rounds"],
    head=["s", "kept"],
    rows=[["plain", "2.000", "a name that is long"], ["ours", "1.000", "all"]],
    remarks=["goal: met"],
)


def test_lines_stand_in_columns():
    title, note, head, plain, ours, goal = lines_of(SECTION)
    assert (title, note, goal) == ("styling: a picture", "3 rounds", "goal: met")
    assert len({len(head), len(plain), len(ours)}) == 1
    assert plain.endswith("  2.000 a name that is long")


def test_markdown_is_a_heading_a_table_and_a_list():
    assert markdown_of(SECTION) == [
        "### styling: a picture",
        "",
        "3 rounds",
        "",
        "|  | s | kept |",
        "| --- | ---: | ---: |",
        "| plain | 2.000 | a name that is long |",
        "| ours | 1.000 | all |",
        "",
        "- goal: met",
        "",
    ]


def test_section_may_have_remarks_alone():
    section = Section(title="where the time goes", remarks=["norms 3%"])
    assert lines_of(section) == ["where the time goes", "norms 3%"]
    assert markdown_of(section) == ["### where the time goes", "", "- norms 3%", ""]


def test_plain_lines_are_printed_and_written_as_they_are():
    lines = ["start-up: 3 rounds", "   median", "a  1.000"]
    assert lines_of(lines) is lines
    assert markdown_of(lines) == ["### start-up: 3 rounds", "", "```text", "   median", "a  1.000", "```", ""]
