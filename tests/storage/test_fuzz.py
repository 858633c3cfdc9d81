"""Files changed at random are read right or refused by name, in bounded memory and time."""

import pytest
from fuzz import fuzz


@pytest.mark.parametrize("seed", [1, 2])
def test_mutations_are_read_right_or_refused(tmp_path, seed):
    ends = fuzz(100, seed, tmp_path)["ends"]
    assert sum(ends.values()) == 100
    assert ends["damaged, DamagedFileError"] > 20
    assert ends["forged, DamagedFileError"] > 10
    assert ends["forged, read"] > 0
