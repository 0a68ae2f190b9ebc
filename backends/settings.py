"""The only reader of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that can be set; each field is the variable `LABELPILOT_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="LABELPILOT_", env_file=".env", extra="ignore", populate_by_name=True
    )

    data_dir: Path = Field(
        default=Path("~/.labelpilot"), description="state, caches and compiled models"
    )
    model_dir: Path | None = Field(
        default=None, description="checkpoints; default: models/ in the data folder"
    )
    database_url: SecretStr | None = Field(
        default=None, description="SQLAlchemy URL; default: SQLite in the data folder"
    )

    label_studio_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"),
        description="where this server reaches Label Studio",
    )
    label_studio_api_key: SecretStr | None = Field(
        default=None,
        validation_alias="LABEL_STUDIO_API_KEY",
        description="personal access token or legacy token",
    )

    basic_auth_user: str | None = Field(default=None, description="with a password: Basic auth")
    basic_auth_password: SecretStr | None = None

    sam_model: str = Field(
        default="auto",
        description="grabcut, a name that `labelpilot weights list` shows, a file in the model "
        "folder, or auto: the best checkpoint in the model folder, else grabcut",
    )
    device: str = Field(default="auto", description="auto, cpu, or a torch device such as cuda:0")
    polygon_tolerance_px: float = Field(
        default=1.0, gt=0, description="how far a simplified polygon may leave the mask's edge"
    )
    prefetch_tasks: int = Field(
        default=3, ge=0, description="how many of the next tasks to embed ahead"
    )

    embedding_memory_mb: int = Field(default=512, ge=16)
    embedding_disk_mb: int = Field(default=10_000, ge=0)
    media_cache_mb: int = Field(default=5_000, ge=16)
    media_max_mb: int = Field(default=200, ge=1, description="largest file that is fetched")
    media_max_megapixels: int = Field(default=200, ge=1, description="largest image decoded")
    media_timeout_s: float = Field(default=20.0, gt=0)
    media_allowed_hosts: str = Field(
        default="",
        description="private hosts that tasks may point to, as host:port, separated by commas",
    )
    media_allowed_dirs: str = Field(
        default="", description="folders whose files tasks may name, separated by commas"
    )

    workers: int = Field(default=4, ge=1, description="requests that compute at the same time")
    queue_length: int = Field(default=64, ge=1, description="requests that wait; beyond: 503")
    max_request_mb: int = Field(default=32, ge=1)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _whole_basic_auth(self) -> Self:
        if bool(self.basic_auth_user) != bool(self.basic_auth_password):
            raise ValueError("Basic auth needs both LABELPILOT_BASIC_AUTH_USER and _PASSWORD")
        return self

    @property
    def basic_auth(self) -> tuple[str, str] | None:
        """(user, password) of this server, if both are set."""
        if self.basic_auth_user and self.basic_auth_password:
            return self.basic_auth_user, self.basic_auth_password.get_secret_value()
        return None

    @property
    def data_path(self) -> Path:
        """`data_dir` without "~"."""
        return self.data_dir.expanduser()

    @property
    def model_path(self) -> Path:
        """Where checkpoints lie."""
        return self.model_dir.expanduser() if self.model_dir else self.data_path / "models"
