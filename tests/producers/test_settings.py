"""One name a setting: argument, environment, file of a secret, crewmem.toml, default; in that order."""

from pathlib import Path

import pytest
from crewmem_producers.errors import SettingsError
from crewmem_producers.setting_sources import config_path, origin
from crewmem_producers.settings import (
    DEFAULT_BASE_URL,
    ConsumerSettings,
    CrewSettings,
    KafkaSettings,
    ServiceSettings,
    load,
    unknown_names,
)
from pydantic import SecretStr


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a crewmem.toml above it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    inner = tmp_path / "project" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    return tmp_path / "project"


def test_each_source_comes_before_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(CrewSettings).session is None
    (folder / "crewmem.toml").write_text('session = "toml"\n')
    assert load(CrewSettings).session == "toml"
    (folder / "named").write_text("a file\n")
    monkeypatch.setenv("CREWMEM_SESSION_FILE", str(folder / "named"))
    assert load(CrewSettings).session == "a file"
    monkeypatch.setenv("CREWMEM_SESSION", "environment")
    assert load(CrewSettings).session == "environment"
    assert load(CrewSettings, session="argument").session == "argument"


def test_the_origin_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert origin("session") == "default"
    (folder / "crewmem.toml").write_text('session = "toml"\n')
    assert origin("session") == str(folder / "crewmem.toml")
    monkeypatch.setenv("CREWMEM_SESSION_FILE", "f")
    assert origin("session") == "CREWMEM_SESSION_FILE"
    monkeypatch.setenv("CREWMEM_SESSION", "s")
    assert origin("session") == "CREWMEM_SESSION"


def test_the_named_file_comes_before_the_nearest_and_that_before_the_users(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, nearest, named = tmp_path / "config" / "crewmem", folder / "inner", tmp_path
    assert config_path() is None
    for place in (user, folder, nearest):
        place.mkdir(parents=True, exist_ok=True)
        (place / "crewmem.toml").write_text("")
        assert config_path() == place / "crewmem.toml"
    (named / "other.toml").write_text("")
    monkeypatch.setenv("CREWMEM_CONFIG", str(named / "other.toml"))
    assert config_path() == named / "other.toml"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CREWMEM_CONFIG", "/no/such.toml", "CREWMEM_CONFIG names /no/such.toml"),
        ("CREWMEM_API_KEY_FILE", "/no/such", "CREWMEM_API_KEY_FILE cannot be read"),
        ("CREWMEM_PUBLISH_INPUTS", "topic", "CREWMEM_PUBLISH_INPUTS: a JSON list"),
        ("CREWMEM_FLUSH_SECONDS", "soon", "CREWMEM_FLUSH_SECONDS"),
        ("CREWMEM_TENANT", "Not A Tenant", "CREWMEM_TENANT: a tenant matches"),
        ("CREWMEM_SOURCE", "not UTF-8 \udcff", "CREWMEM_SOURCE"),
        ("CREWMEM_SESSION", "*", "CREWMEM_SESSION"),
        ("CREWMEM_BASE_URL", "localhost:8765", "CREWMEM_BASE_URL: an address begins with http"),
        ("CREWMEM_NAMESPACE", "a.b", "CREWMEM_NAMESPACE"),
        ("CREWMEM_DURABILITY", "none", "CREWMEM_DURABILITY"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said.replace("[", r"\[")):
        load(CrewSettings)


def test_a_file_that_is_no_toml_is_refused_with_its_path(folder: Path) -> None:
    (folder / "crewmem.toml").write_text("session = ")
    with pytest.raises(SettingsError, match=r"crewmem\.toml cannot be read"):
        load(CrewSettings)


@pytest.mark.parametrize("model", [CrewSettings, KafkaSettings, ConsumerSettings, ServiceSettings])
def test_an_unknown_argument_is_refused_and_no_secret_is_shown(model: type[CrewSettings]) -> None:
    with pytest.raises(SettingsError, match=r"(?i)base_ulr"):
        load(model, base_ulr="x")
    shown = repr(load(model, kafka_sasl_password="hunter2"))
    assert "hunter2" not in shown


def test_unknown_names_are_told_with_the_nearest_right_one(folder: Path) -> None:
    (folder / "crewmem.toml").write_text('sesion = "x"\ntop_k = 3\n')
    said = unknown_names({"CREWMEM_BASE_ULR": "x", "CREWMEM_API_KEY_FILE": "f", "CREWMEM_TEST_S3": "y", "PATH": "/"})
    assert said == [
        "CREWMEM_BASE_ULR is no setting; did you mean CREWMEM_BASE_URL?",
        f"sesion in {folder / 'crewmem.toml'} is no setting; did you mean session?",
    ]


def test_the_key_of_up_is_read_last_and_only_for_its_own_address(tmp_path: Path) -> None:
    (tmp_path / "api_key").write_text("am_live_up\n")
    assert load(CrewSettings, home=tmp_path).resolved_api_key() == "am_live_up"
    assert load(CrewSettings, home=tmp_path, base_url=DEFAULT_BASE_URL + "/").resolved_api_key() == "am_live_up"
    assert load(CrewSettings, home=tmp_path, api_key="mine").resolved_api_key() == "mine"
    assert load(CrewSettings, home=tmp_path, base_url="http://elsewhere:8765").resolved_api_key() is None


def test_a_key_of_up_that_cannot_be_read_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "api_key").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="CREWMEM_API_KEY"):
        load(CrewSettings, home=tmp_path).resolved_api_key()


@pytest.mark.parametrize("store", ["s3:/bucket/prefix", "gs://bucket", "file:///tmp/store"])
def test_a_store_that_would_be_taken_for_a_folder_by_mistake_is_refused(store: str) -> None:
    with pytest.raises(SettingsError, match="CREWMEM_STORE: a folder or s3://bucket/prefix"):
        load(ServiceSettings, store=store)


@pytest.mark.parametrize("store", ["s3://bucket/prefix", "/data/store", "data/a:b", r"C:\data", "~/store"])
def test_a_folder_or_a_bucket_is_a_store(store: str) -> None:
    assert load(ServiceSettings, store=store).store == store


def test_an_argument_that_is_no_setting_is_told_with_the_nearest_right_one() -> None:
    with pytest.raises(SettingsError, match=r"^topk is no setting; did you mean top_k"):
        load(CrewSettings, topk=3)


def test_a_wrong_value_of_the_file_is_told_with_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "crewmem.toml").write_text('top_k = "many"\n')
    with pytest.raises(SettingsError, match=r"CREWMEM_TOP_K \(top_k in .*crewmem.toml\): "):
        load(CrewSettings)
    monkeypatch.setenv("CREWMEM_TOP_K", "many")
    with pytest.raises(SettingsError, match="CREWMEM_TOP_K: "):
        load(CrewSettings)


@pytest.mark.parametrize(
    "address", ["https://m.example.com", "https://m.example.com/", "https://m.example.com/v1", "https://m.example.com/v1/"]
)
def test_an_address_may_end_with_a_slash_or_with_v1(address: str) -> None:
    assert load(CrewSettings, base_url=address).base_url == "https://m.example.com"


def service_variables(name: str, port: int) -> dict[str, str]:
    """What Kubernetes sets in a pod for a Service of that name, with one port that has a name."""
    prefix, address = name.upper().replace("-", "_"), f"tcp://10.96.0.7:{port}"
    tcp = f"{prefix}_PORT_{port}_TCP"
    return {
        f"{prefix}_SERVICE_HOST": "10.96.0.7", f"{prefix}_SERVICE_PORT": str(port), f"{prefix}_SERVICE_PORT_HTTP": str(port),
        f"{prefix}_PORT": address, tcp: address, f"{tcp}_PROTO": "tcp", f"{tcp}_PORT": str(port), f"{tcp}_ADDR": "10.96.0.7",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["crewmem", "crewmem-recall", "crewmem-consumer", "crewmem-kafka-bootstrap"])
def test_the_variables_that_kubernetes_sets_for_a_service_are_no_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = service_variables(name, 8765)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert unknown_names() == []
    assert load(ServiceSettings).port == 8765  # not tcp://10.96.0.7:8765
    assert load(ConsumerSettings).consumer_port == 8766
    assert origin("port") == origin("consumer_port") == "default"


def test_a_name_that_only_looks_like_one_of_those_is_still_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_SERVICE_PORT", "9000")
    assert "CREWMEM_SERVICE_PORT" in unknown_names()[0]
    monkeypatch.setenv("CREWMEM_PORT", "tcp://10.0.0.1:9000")
    with pytest.raises(SettingsError, match="CREWMEM_PORT"):
        load(ServiceSettings)


def test_a_secret_from_a_file_is_read_again_and_one_from_elsewhere_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    monkeypatch.setenv("CREWMEM_KAFKA_SASL_PASSWORD_FILE", str(file))
    of_file, given = load(KafkaSettings), load(KafkaSettings, kafka_sasl_password="given")
    copied = of_file.model_copy(update={"kafka_wait_seconds": 0.0})
    file.write_text("second\n")
    now = [one.secret_now("kafka_sasl_password") for one in (of_file, copied, given)]
    assert [secret and secret.get_secret_value() for secret in now] == ["second", "second", "given"]
    assert of_file.secret_now("kafka_key_password") is None
    for change in (lambda: file.write_text(""), file.unlink):
        change()
        assert of_file.secret_now("kafka_sasl_password") == SecretStr("first")
