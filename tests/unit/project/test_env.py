import pytest

from project import env

GOOD = {"SECRET_KEY": "secret", "BROKER_URL": "amqp://h//", "DATABASE_URL": "postgres://h/d"}


@pytest.fixture
def environment(monkeypatch):
    """Sets the whole environment of the platform, platform.env left aside."""

    def setenv(**values: str):
        monkeypatch.setitem(env.Env.model_config, "env_file", None)
        for name in env.Env.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return setenv


def test_three_variables_are_enough(environment):
    environment(**GOOD)
    loaded = env.load()
    assert (loaded.port, loaded.flower_port, loaded.debug) == (8000, 5555, False)
    assert loaded.allowed_hosts == ["localhost", "127.0.0.1", "[::1]"]


def test_lists_are_separated_by_commas(environment):
    environment(**GOOD, ALLOWED_HOSTS="a.example, b.example")
    assert env.load().allowed_hosts == ["a.example", "b.example"]


def test_the_nodes_of_a_cluster_are_separated_by_semicolons(environment):
    cluster = {"BROKER_URL": "amqp://a//; amqp://b//", "RABBITMQ_API_URL": "http://a/api/;http://b/api/"}
    environment(**GOOD | cluster)
    loaded = env.load()
    assert (loaded.broker_url, loaded.rabbitmq_api_url) == ("amqp://a//;amqp://b//", "http://a/api/;http://b/api/")


def test_every_missing_variable_is_named_at_once(environment):
    environment()
    with pytest.raises(SystemExit) as caught:
        env.load()
    assert all(f"{name}: is not set" in str(caught.value) for name in GOOD)
    assert "make up" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER_URL", "kafka://h"),
        ("BROKER_URL", ""),
        ("BROKER_URL", "amqp://h//;"),
        ("BROKER_URL", "amqp://h//;kafka://h"),
        ("BROKER_URL", "amqp://h/one;amqp://i/another"),
        ("RABBITMQ_API_URL", "h:15672"),
        ("DATABASE_URL", "mysql://h/d"),
        ("DATABASE_URL", "postgres://u:pass#word@h:1/d"),
        ("BROKER_URL", "amqp://u:pass/word@h:1//"),
        ("REDIS_URL", "http://h"),
        ("EMAIL_URL", "pigeon://loft"),
        ("DEBUG", "perhaps"),
        ("PORT", "99999"),
        ("MAX_PAYLOAD_BYTES", "0"),
        ("SECRET_KEY", "x"),
    ],
)
def test_a_bad_variable_is_named_and_its_value_is_not_shown(environment, name, value):
    environment(**{**GOOD, name: value})
    with pytest.raises(SystemExit, match=name) as caught:
        env.load()
    assert value not in str(caught.value) or len(value) < 3


def test_a_set_variable_wins_over_the_platforms_file(environment, monkeypatch, tmp_path):
    environment(**GOOD)
    file = tmp_path / "platform.env"
    file.write_text("PORT=9001\nFLOWER_PORT=9002\n")
    monkeypatch.setitem(env.Env.model_config, "env_file", file)
    monkeypatch.setenv("PORT", "9003")
    assert (env.load().port, env.load().flower_port) == (9003, 9002)
