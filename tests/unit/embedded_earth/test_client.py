"""Without the files of the client's tests: one sentence at connect and a line in ``doctor``."""

from __future__ import annotations

import pytest

from dwplus.earth.session import check_embedded, connect, embedded_earth
from dwplus.embedded_earth import client
from dwplus.errors import InputError
from pipelines import doctor


@pytest.fixture(params=["algorithms.json", "cloud_api_discovery_document.json"])
def lacking(request, tmp_path, monkeypatch):
    """A client that lacks one file."""
    whole = client.client_file

    def found(name):
        return tmp_path / name if name == request.param else whole(name)

    client.client_json.cache_clear()
    monkeypatch.setattr(client, "client_file", found)
    yield tmp_path / request.param
    client.client_json.cache_clear()


def test_connecting_says_which_file_is_missing_and_what_to_do(lacking):
    for reach in (check_embedded, lambda: embedded_earth(None), lambda: connect(seed=991)):
        with pytest.raises(InputError) as told:
            reach()
        assert str(lacking) in str(told.value) and "install earthengine-api" in str(told.value)
        assert "\n" not in str(told.value)


def test_a_broken_file_is_told_too(lacking):
    lacking.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        check_embedded()


def test_doctor_has_a_line(lacking):
    found = {check.name: check for check in doctor.examine()}
    assert found["client"].state == "fail" and lacking.name in found["client"].found
    assert found["earth"].state == "fail"


def test_the_service_needs_none_of_it(lacking):
    assert doctor._client("a-project").state == "warn"


def test_doctor_says_where_all_is_there():
    assert doctor._client(None).state == "ok"


def test_no_client_at_all(monkeypatch):
    monkeypatch.setattr(client.importlib.util, "find_spec", lambda name: None)
    client.client_json.cache_clear()
    with pytest.raises(InputError, match="install earthengine-api"):
        check_embedded()
