"""`up` starts its processes in another directory: files that settings name must be found from there, too."""

import os
from pathlib import Path

import pytest
from jobtide.cli.commands.up import _with_whole_paths
from jobtide.streams.settings import load


def test_files_of_settings_are_named_by_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOBTIDE_RULES", "rules.yaml")
    monkeypatch.setenv("JOBTIDE_OIDC_JWKS", "https://issuer.example/keys")
    settings = _with_whole_paths(load({"JOBTIDE_RULES": "rules.yaml", "JOBTIDE_OIDC_JWKS": "https://issuer.example/keys"}))
    assert settings.rules == os.environ["JOBTIDE_RULES"] == str(tmp_path / "rules.yaml")
    assert settings.oidc_jwks == os.environ["JOBTIDE_OIDC_JWKS"] == "https://issuer.example/keys"
    assert settings.receivers == ""
