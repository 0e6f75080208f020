"""rireki.toml: what a person may write, what is refused, and with which words."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from pipelines.config import load
from pipelines.errors import ConfigInvalid, ConfigMissing, ConfigUnreadable
from pipelines.setup import render

MINIMAL = """
[source]
dsn = "postgresql://reader@db.example:5433/platform"
[lake]
url = "lake"
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RIREKI_SOURCE__PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


def written(folder: Path, text: str) -> Path:
    file = folder / "rireki.toml"
    file.write_text(text)
    return file


def problems(folder: Path, text: str) -> dict[str, str]:
    with pytest.raises(ConfigInvalid) as raised:
        load(written(folder, text))
    return {problem.setting: problem.what for problem in raised.value.problems}


def test_two_lines_are_enough(tmp_path: Path) -> None:
    config = load(written(tmp_path, MINIMAL))

    assert config.stream.publication_name == config.stream.slot_name == "rireki"
    assert config.lake_root().url == str(tmp_path / "lake")
    assert conninfo_to_dict(config.conninfo())["port"] == "5433"


def test_a_slot_and_publication_follow_the_streams_name_unless_set(tmp_path: Path) -> None:
    config = load(written(tmp_path, MINIMAL + '[stream]\nname = "platform"\npublication = "Shared tables"\n'))

    assert config.stream.slot_name == "platform"
    assert config.stream.publication_name == "Shared tables"


def test_the_environment_wins_over_the_file_value_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIREKI_CAPTURE__MAX_FILL_MS", "7")

    config = load(written(tmp_path, MINIMAL + "[capture]\nmax_fill_ms = 9\nmax_batch_rows = 11\n"))

    assert (config.capture.max_fill_ms, config.capture.max_batch_rows) == (7, 11)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
        [source]
        dsn = "postgresql//oops"
        [lake]
        url = "ftp://somewhere"
        [capture]
        max_batch_rows = 0
        max_bach_bytes = 5
        idle_cut_seconds = "soon"
        [stream]
        name = "Not A Slot"
        """,
    )

    assert found["capture.max_batch_rows"] == "must be > 0, got 0"
    assert found["capture.max_bach_bytes"].startswith("no such setting; [capture] has max_batch_rows, max_batch_bytes")
    assert found["capture.idle_cut_seconds"].endswith("got 'soon'")
    assert found["lake.url"].startswith("must be s3://bucket/prefix, file:///folder or a folder")
    assert found["source.dsn"].startswith("must look like postgresql://")
    assert "'Not A Slot'" in found["stream.name"]


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    assert problems(tmp_path, "") == {"source": "must be set", "lake": "must be set"}


def test_an_unknown_section_in_the_environment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIREKI_CAPTUR__MAX_FILL_MS", "7")

    assert "RIREKI_CAPTUR__MAX_FILL_MS" in problems(tmp_path, MINIMAL)


def test_a_file_that_is_not_there_is_told_apart_from_one_that_is_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigMissing):
        load(tmp_path / "rireki.toml")

    with pytest.raises(ConfigUnreadable, match="line 1"):
        load(written(tmp_path, "[source\n"))


@pytest.mark.parametrize("section", ["source]\npassword", "lake]\naws_secret_access_key", "lake]\nAWS_ACCESS_KEY_ID"])
def test_a_secret_in_the_file_is_refused(tmp_path: Path, section: str) -> None:
    header, _, name = section.partition("]\n")
    text = MINIMAL.replace(f"[{header}]", f'[{header}]\n{name} = "hunter2"')

    found = problems(tmp_path, text)

    assert found[f"{header}.{name}"].startswith("never in this file: set ")
    assert "hunter2" not in str(found)


def test_a_password_never_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter3")
    text = MINIMAL.replace("reader@", "reader:hunter2@").replace('"lake"', '"s3://bucket/lake"')

    config = load(written(tmp_path, text + '[alerts]\nurls = ["json://hunter4@host"]\n'))

    shown = f"{config!r} {config} {config.model_dump_json()} {config.shown_dsn} {config.lake_root()!r}"
    assert "hunter" not in shown
    assert conninfo_to_dict(config.conninfo())["password"] == "hunter2"
    assert config.lake_root().options["AWS_SECRET_ACCESS_KEY"] == "hunter3"


def test_a_wrong_dsn_with_a_password_does_not_show_it(tmp_path: Path) -> None:
    assert "hunter2" not in str(
        problems(tmp_path, MINIMAL.replace("postgresql://reader@", "postgresql//reader:hunter2@"))
    )


def test_the_password_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("from the file\n")
    file = written(tmp_path, MINIMAL.replace("[lake]", 'password_file = "password"\n[lake]'))

    from_file = load(file).conninfo()
    monkeypatch.setenv("RIREKI_SOURCE__PASSWORD", "from the environment")
    from_environment = load(written(tmp_path, MINIMAL)).conninfo()

    assert conninfo_to_dict(from_file)["password"] == "from the file"
    assert conninfo_to_dict(from_environment)["password"] == "from the environment"


def test_two_passwords_are_one_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIREKI_SOURCE__PASSWORD", "x")

    assert problems(tmp_path, MINIMAL.replace("[lake]", 'password_file = "password"\n[lake]'))


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    config = load(written(tmp_path, MINIMAL.replace("[lake]", 'password_file = "gone"\n[lake]')))

    with pytest.raises(ConfigInvalid, match="gone"):
        config.conninfo()


def test_config_does_not_change_after_loading(tmp_path: Path) -> None:
    config = load(written(tmp_path, MINIMAL))

    with pytest.raises(ValidationError):
        config.capture.max_batch_rows = 1  # type: ignore[misc]


def test_a_rendered_file_says_the_defaults_and_loads_to_them(tmp_path: Path) -> None:
    text = render({"source": {"dsn": "host=x"}, "lake": {"url": "lake"}})
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line or line[:1] == "[")

    rendered = load(written(tmp_path, text))
    (tmp_path / "spelled").mkdir()
    spelled_out = load(
        written(tmp_path / "spelled", "\n".join(line for line in uncommented.splitlines() if not line.endswith('""')))
    )

    assert "# max_batch_rows = 100000" in text
    assert rendered.capture == spelled_out.capture
    assert rendered.alerts == spelled_out.alerts


def test_retention_is_translated_into_days_that_are_never_fewer(tmp_path: Path) -> None:
    text = '[retention]\nevery_version = "36 hours"\nhourly_versions = "3 months"\ndaily_versions = "7 years"\n'
    promise = load(written(tmp_path, MINIMAL + text + 'zone = "Asia/Tokyo"\n')).retention.promise()

    assert (promise.every, promise.hourly) == (timedelta(hours=36), timedelta(days=93))
    assert (promise.daily, promise.zone) == (timedelta(days=2562), "Asia/Tokyo")
    assert promise.table_properties == {
        "delta.deletedFileRetentionDuration": "interval 2563 days",
        "delta.logRetentionDuration": "interval 2563 days",
    }


def test_retention_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    text = '[retention]\nevery_version = "a week"\ndaily_versions = "forever"\nzone = "Tokio"\nchangelog = "1 year"\n'

    found = problems(tmp_path, MINIMAL + text)

    assert found["retention.every_version"].startswith("must be like '36 hours'")
    assert found["retention.daily_versions"].startswith("can't be forever")
    assert found["retention.zone"] == "must be a time zone's name, such as Asia/Tokyo, got 'Tokio'"
    assert "nothing removes changes" in found["retention.changelog"]
