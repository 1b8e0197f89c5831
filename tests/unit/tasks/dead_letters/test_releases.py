from datetime import UTC, datetime

import pytest

from tasks.dead_letters.releases import is_at_least

SEEN = {
    name: datetime(2026, 1, day, tzinfo=UTC) for day, name in enumerate(["9fceb02", "12345a7", "1234567", "1.0"], 1)
}


@pytest.mark.parametrize(
    ("release", "wanted", "answer"),
    [
        ("1.4.2", "1.4.2", True),
        ("1.4.10", "1.4.9", True),
        ("1.4", "1.4.0", True),
        ("v2.0", "1.9", True),
        ("1.4.1", "1.4.2", False),
        ("2.0.0-rc.1", "2.0.0", False),
        ("2.0.0", "2.0.0-rc.1", True),
        ("2026.3.1", "2026.2.28", True),
        ("153", "99", True),
        ("12345a7", "9fceb02", True),
        ("9fceb02", "12345a7", False),
        ("1.0", "9fceb02", True),
        ("9fceb02", "1.0", False),
        ("never-seen", "9fceb02", False),
        ("9fceb02", "never-seen", False),
        ("never-seen", "never-seen", True),
        ("", "1.0", False),
        ("1.0", "", False),
    ],
)
def test_of_two_builds_the_later_is_known(release, wanted, answer):
    assert is_at_least(release, wanted, SEEN) is answer
