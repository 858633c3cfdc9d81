"""What the builder reads, parts and counts."""

import dataclasses
import json

import numpy as np
import pytest

from structlin import builder
from structlin.builder import _candidates, _measure, _split
from structlin.builder._data import Examples
from structlin.builder._report import frontier

ROWS = [("a", "one, two"), ("b", 'say "x"'), ("b", "été"), ("1", "zwölf\tdrei")]


def examples(texts, labels):
    return Examples("data", list(texts), list(labels))


def test_forms_of_files_agree(tmp_path):
    files = {
        "lines.tsv": "label\ttext\n" + "".join(f"{a}\t{b}\r\n\n" for a, b in ROWS),
        "table.csv": 'other,Text,LABEL\n,"one, two",a\n,"say ""x""",b\n,été,b\n\n,zwölf\tdrei,1\n',
        "lines.jsonl": "".join(
            json.dumps({"label": int(a) if a == "1" else a, "text": b}) + "\n" for a, b in ROWS
        ),
    }
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode("utf-8-sig"))
        found = builder.read(tmp_path / name)
        assert list(zip(found.labels, found.inputs, strict=True)) == ROWS, name
        assert not found.notes
    (tmp_path / "latin.tsv").write_bytes("b\tété\n".encode("latin-1"))
    assert builder.read(tmp_path / "latin.tsv", "latin-1").inputs == ["été"]


def test_rows_that_say_nothing_or_the_same(tmp_path):
    (tmp_path / "x.tsv").write_text("a\tone\na\t one \nb\tone\n\tone\na\t\nb\ttwo\n")
    found = builder.read(tmp_path / "x.tsv").unique()
    assert (found.labels, found.inputs) == (["a", "b", "b"], ["one", "one", "two"])
    assert found.notes == (
        "x.tsv: 2 rows without a label or without text left out",
        "x.tsv: 1 repeated row left out",
        "x.tsv: 1 input under more than one label, and kept so",
    )


def test_validation_rows_are_chosen_by_their_hashes():
    texts = [f"text {i}" for i in range(600)]
    labels = ["rare" if i == 7 else "ab"[i % 2] for i in range(600)]
    whole = _split.assemble(examples(texts, labels))
    assert whole.labels == ("a", "b", "rare")
    assert 30 <= len(whole.valid.inputs) <= 90
    assert sorted([*whole.train.inputs, *whole.valid.inputs]) == sorted(texts)
    assert not whole.tested
    assert whole.test.inputs == whole.valid.inputs
    again = _split.assemble(examples(texts[::-1], labels[::-1]))
    assert set(again.valid.inputs) == set(whole.valid.inputs)
    part = _split.assemble(examples(texts[:300], labels[:300]))
    assert set(part.valid.inputs) == set(whole.valid.inputs) & set(texts[:300])


def test_a_label_stays_in_training():
    texts = [f"text {i}" for i in range(600)]
    lone = _split.assemble(examples(texts, ["a", "b"] * 300)).valid.inputs[0]
    labels = ["lone" if t == lone else "ab"[i % 2] for i, t in enumerate(texts)]
    assert "lone" in _split.assemble(examples(texts, labels)).labels


def test_labels_that_training_has_not_count_as_wrong():
    data = examples([f"text {i}" for i in range(40)], ["a", "b"] * 20)
    test = dataclasses.replace(examples(["text 1", "new"], ["b", "c"]), name="test")
    whole = _split.assemble(data, valid=test, test=test)
    assert whole.test.targets.tolist() == [1, -1]
    assert "test: 1 rows have labels that training has not, and count as wrong: c" in whole.notes
    assert "test: 1 of 2 inputs are in training too" in whole.notes
    chances = np.array([[0.2, 0.8], [0.5, 0.5]])
    assert _measure.accuracy(chances.argmax(-1), whole.test.targets) == 0.5
    assert _measure.cross_entropy(chances, whole.test.targets) == pytest.approx(-np.log(0.8))


def test_macro_f1_by_hand():
    found, targets = np.array([0, 0, 1, 2]), np.array([0, 1, 1, -1])
    assert _measure.macro_f1(found, targets) == pytest.approx((2 / 3 + 2 / 3 + 0 + 0) / 4)


@pytest.mark.parametrize(("balance", "ratio"), [(0.0, 1), (0.5, 3), (1.0, 9)])
def test_balance(tmp_path, balance, ratio):
    data = _split.assemble(*[examples([f"text {i}" for i in range(40)], "a" * 36 + "b" * 4)] * 2)
    settings = builder.Settings(tmp_path, tmp_path, balance=balance)
    made = _candidates.Candidates(settings, data, None, "", tmp_path, None)
    weights = made._weights()
    assert weights[-1] / weights[0] == pytest.approx(ratio)
    assert weights.mean() == pytest.approx(1)


def test_what_no_other_model_beats():
    points = [(10, 0.5), (20, 0.4), (20, 0.7), (30, 0.7), (40, 0.9)]
    rows = [{"bytes": b, "accuracy": a} for b, a in points]
    assert [(r["bytes"], r["accuracy"]) for r in frontier(rows)] == [points[i] for i in (0, 2, 4)]
