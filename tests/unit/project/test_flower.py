import pytest

from project.flower import guard_flower


@pytest.mark.parametrize(
    ("arguments", "environ", "login"),
    [
        ([], {}, ""),
        (["--address=127.0.0.1"], {}, ""),
        (["--address=0.0.0.0"], {}, "ada:secret"),
        (["--address=0.0.0.0", "--basic-auth=ada:secret"], {}, ""),
        (["--address=0.0.0.0"], {"FLOWER_AUTH_PROVIDER": "flower.views.auth.GithubLoginHandler"}, ""),
    ],
)
def test_flower_starts_where_only_the_right_ones_see_it(arguments, environ, login):
    guard_flower(arguments, environ, login)
    assert environ["FLOWER_ADDRESS"] == "127.0.0.1"
    assert environ.get("FLOWER_BASIC_AUTH", "") == login


@pytest.mark.parametrize(
    ("arguments", "environ"), [(["--address=0.0.0.0"], {}), (["--address="], {}), ([], {"FLOWER_ADDRESS": "10.0.0.1"})]
)
def test_flower_is_not_shown_to_the_network_without_a_password(arguments, environ):
    with pytest.raises(SystemExit, match="FLOWER_BASIC_AUTH"):
        guard_flower(arguments, environ, "")
