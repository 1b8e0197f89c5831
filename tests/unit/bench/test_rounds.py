from tests.bench.figures import Sample
from tests.bench.rounds import play


class Name:
    def __init__(self, name: str):
        self.name = name


class Contest:
    """Measures whoever is not named after a fault."""

    def __init__(self) -> None:
        self.measured: list[str] = []

    def measure(self, contestant: Name) -> Sample:
        self.measured.append(contestant.name)
        if contestant.name == "broken":
            raise RuntimeError("no worker")
        return Sample(1, 1.0, {"rate": 1.0})


def test_who_fails_is_told_with_the_reason_and_the_others_go_on():
    contest, told = Contest(), []
    played = play(contest, [Name("ours"), Name("broken")], 3, lambda *line: told.append(line))

    assert played.errors == {"broken": "RuntimeError: no worker"}
    assert [sorted(one) for one in played.rounds] == [["ours"]] * 3
    assert contest.measured.count("broken") == 1
    assert ("1/3", "broken", "ERROR  no worker") in told
