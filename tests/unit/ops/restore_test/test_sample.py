"""The sample and the canary's content: limited, repeatable and unambiguous."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ops.restore_test import canary
from ops.restore_test.sample import MOST_FILES, Sample


def sampled(sizes: list[int], seed: int, most: int) -> Sample:
    sample = Sample(seed, most)
    for number, size in enumerate(sizes):
        sample.offer({"type": "file", "path": f"/srv/{number}", "size": size})
    return sample


@given(sizes=st.lists(st.integers(0, 1000), max_size=400), seed=st.integers(0, 99), most=st.integers(1, 3000))
def test_a_sample_is_limited_repeatable_and_counts_everything(sizes: list[int], seed: int, most: int) -> None:
    sample = sampled(sizes, seed, most)
    chosen = sample.chosen()
    assert sum(chosen.values()) <= most
    assert len(chosen) <= MOST_FILES
    assert (sample.files, sample.bytes) == (len(sizes), sum(sizes))
    assert chosen == sampled(sizes, seed, most).chosen()
    if any(size <= most for size in sizes):
        assert chosen


def test_another_seed_is_another_sample() -> None:
    assert sampled([10] * 300, 1, 100).chosen() != sampled([10] * 300, 2, 100).chosen()


def test_only_files_that_a_pattern_can_name_are_chosen_and_the_canary_counts_separately() -> None:
    sample = Sample(1, 100)
    for path in ("/srv/\ufffd", "/srv/../etc/x", "relative", "/srv/ok", f"{canary.FOLDER}/letter.txt"):
        sample.offer({"type": "file", "path": path, "size": 1})
    sample.offer({"type": "dir", "path": "/srv"})
    sample.offer({"message_type": "snapshot"})
    assert list(sample.chosen()) == ["/srv/ok"]
    assert sample.files == 4


def test_a_canary_differs_by_repository_and_one_byte_is_seen() -> None:
    one, other = canary.expected("0" * 64), canary.expected("1" * 64)
    assert [name for name in one if one[name] == other[name]] == ["README.txt"]
    assert canary.compare(one, one.get) == ([], [])
    damaged = {**one, "photo.jpg": one["photo.jpg"][:-1] + b"x"}
    del damaged["letter.txt"]
    assert canary.compare(one, damaged.get) == (["letter.txt"], ["photo.jpg"])
