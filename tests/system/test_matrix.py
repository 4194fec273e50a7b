# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The matrix of machines, and the sample of it that `test --all` runs."""

from twainlib import matrix


def test_any_two_values_meet_in_the_sample():
    assert matrix.missing_pairs(matrix.SAMPLE) == set()
    assert len(set(matrix.SAMPLE)) == len(matrix.SAMPLE)


def test_a_pair_that_is_missing_is_found():
    for row in matrix.SAMPLE:  # with the least number of rows, each is needed
        less = [other for other in matrix.SAMPLE if other is not row]
        assert (("cores", row.cores), ("cpu", row.cpu)) in matrix.missing_pairs(less)


def test_the_sample_is_part_of_everything():
    machines = [row.machine for row in matrix.everything()]
    assert len(set(machines)) == len(machines) == 72
    assert {row.machine for row in matrix.SAMPLE} <= set(machines)


def test_the_table_says_what_was_seen(tmp_path):
    results = matrix.Results(tmp_path / "matrix.json")
    first, second = matrix.everything()[0], matrix.everything()[1]
    results.add("kernel", first, True)
    results.add("kernel", second, False)
    text = matrix.Results(tmp_path / "matrix.json").document()
    assert text.count("| ok |") == 1 and text.count("**fails**") == 1
    assert f"| {first.cpu} | {first.cores} | ok |" in text
    assert text.count("| – ") == 2 * len(matrix.everything()) - 2


def test_the_committed_table_is_one_that_the_command_writes():
    """Cells are what they were when it ran; everything else is as the code has it."""
    def without_cells(text):
        return [line.replace("**fails**", "ok").replace("–", "ok") for line in text.splitlines() if not line.startswith("QEMU ")]

    committed = matrix.DOCUMENT.read_text()
    assert without_cells(committed) == without_cells(matrix.Results(matrix.DOCUMENT).document())
