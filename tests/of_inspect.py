"""What tests that run Inspect have in common: they bear with what it leaves open, and let go of it before another test begins."""

import pytest

RUNS_INSPECT = [
    pytest.mark.usefixtures("what_inspect_leaves_open_is_let_go"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
