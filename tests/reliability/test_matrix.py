from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from tests.reliability import table
from tests.reliability.cases import DIRECTIONS, ROWS, Case
from tests.reliability.pool import running

COMMITTED = table.parse(table.committed())
REWRITE = "docs/reliability.md says something else; if this is better: .venv/bin/python -m tests.reliability --write"


@pytest.fixture(scope="module")
def outcomes(request, moto_store, swift_store) -> Iterator[dict[str, Future[str]]]:
    """What comes of every fault whose test was chosen; they are made several at a time."""
    chosen = [item.callspec.params["cell"] for item in request.session.items if is_cell(item)]
    with running(chosen, {"moto": moto_store, "swift": swift_store}) as futures:
        yield futures


def is_cell(item: pytest.Item) -> bool:
    return "cell" in getattr(getattr(item, "callspec", None), "params", {})


@pytest.mark.slow
@pytest.mark.parametrize("cell", table.CELLS, ids=map(str, table.CELLS))
def test_a_fault_ends_as_the_document_says(cell, outcomes):
    assert outcomes[str(cell)].result() == COMMITTED[str(cell)], REWRITE


def test_the_document_has_every_row_and_no_other():
    assert table.render(COMMITTED) == table.committed(), REWRITE


def test_every_fault_of_both_directions_is_there():
    faults = {
        "503 five times",
        "reset mid-body",
        "truncated body",
        "a length that lies",
        "one corrupted byte",
        "a stalled read",
        "dropped connection on PUT",
        "403",
        "404",
        "bucket gone",
    }
    assert {(row.fault, row.direction) for row in ROWS} == {(fault, to) for fault in faults for to in DIRECTIONS}
    assert len({str(cell) for cell in table.CELLS}) == len(table.CELLS)
    assert {(cell.store, cell.size) for cell in table.CELLS} == set(table.COLUMNS)


def test_what_passes_ends_in_right_bytes():
    for cell in table.CELLS:
        outcome = COMMITTED[str(cell)]
        if isinstance(cell.case, Case) and cell.case.passes_after and not outcome.startswith("n/a: "):
            assert outcome.startswith("right bytes; lasting: "), cell


def test_an_unknown_document_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "DOCUMENT", tmp_path / "other.md")
    (tmp_path / "other.md").write_text("no tables")
    with pytest.raises(ValueError, match=r"other\.md: wanted tables between"):
        table.committed()
