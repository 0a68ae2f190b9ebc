"""The only reader of the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

QUEUES = frozenset({"train", "predict"})


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
    store_url: SecretStr | None = Field(
        default=None,
        description="where machines share models, embeddings and media: a folder, or "
        "s3://bucket/folder; default: none, the data folder is all there is",
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
    basic_auth_password: SecretStr | None = Field(
        default=None, description="with a user: Basic auth"
    )
    allow_anybody: bool = Field(
        default=False,
        description="listen beyond this machine without a password; only where nobody else "
        "reaches the port",
    )
    allowed_names: str = Field(
        default="",
        description="names with a dot by which this server is called without a password, "
        "separated by commas",
    )

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

    yolo_model: str = Field(
        default="auto",
        description="what answers where a label config names no model_path: a name that "
        "`labelpilot weights list` shows, a file in the model folder, off, or auto: the best "
        "checkpoint of the needed kind in the model folder",
    )
    yolo_score_threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="score that a detection needs where a label config has no "
        "model_score_threshold",
    )
    yolo_memory_mb: int = Field(
        default=2_000, ge=1, description="models kept loaded; beyond, the least used one leaves"
    )
    download_weights: bool = Field(
        default=True, description="get the default YOLO checkpoint when one is needed and missing"
    )
    track_min_iou: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="how well boxes between key frames of a track must fit what was detected",
    )
    answer_within_s: float = Field(
        default=60.0,
        gt=0,
        le=95,
        description='"Retrieve predictions" answers after this time with what is ready; the rest '
        "follows in the background",
    )
    train_first_at: int = Field(
        default=5, ge=0, description="labelled tasks from which on micro-models train; 0: never"
    )
    train_quiet_s: float = Field(
        default=2.0, ge=0, description="how long nobody has submitted before a training begins"
    )
    train_budget_s: float = Field(
        default=45.0, gt=0, le=3600, description="how long a training may take"
    )
    review_budget_s: float = Field(
        default=120.0,
        gt=0,
        le=3600,
        description="how long models may be trained to judge the labels of a project",
    )
    train_device: str = Field(
        default="cpu", description="where micro-models train: cpu, auto, or a torch device"
    )
    micro_score_threshold: float = Field(
        default=0.5, ge=0, le=1, description="probability of being right that a region needs"
    )
    micro_pseudo_labels: bool = Field(
        default=False,
        description="micro-models also learn from what `labelpilot autoaccept` accepted, for as "
        "long as its certificate holds",
    )
    micro_disk_mb: int = Field(
        default=2_000, ge=10, description="micro-models on disk; beyond, old versions leave"
    )
    micro_memory_mb: int = Field(
        default=1_000, ge=10, description="micro-models kept loaded; beyond, the least used leaves"
    )

    blind_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="share of tasks, drawn by lot, that are served without any prediction: by them "
        "`labelpilot impact` measures what predictions do; 0: none",
    )

    queues: str = Field(
        default="train,predict",
        description="kinds of background work that this process does, separated by commas: train, "
        "predict; empty: it leaves all to others",
    )
    job_threads: int = Field(
        default=2, ge=1, description="chunks of background work done at the same time"
    )
    executor_id: str | None = Field(
        default=None,
        description="name of this process among the workers on one database; default: the "
        "machine's name and the first free number",
    )

    embedding_memory_mb: int = Field(
        default=512, ge=16, description="embeddings of images kept in memory"
    )
    embedding_disk_mb: int = Field(
        default=10_000, ge=0, description="embeddings of images kept on disk"
    )
    media_cache_mb: int = Field(default=5_000, ge=16, description="images and videos kept on disk")
    media_max_mb: int = Field(default=200, ge=1, description="largest file that is fetched")
    video_max_mb: int = Field(default=2_000, ge=1, description="largest video that is fetched")
    media_max_megapixels: int = Field(default=200, ge=1, description="largest image decoded")
    media_timeout_s: float = Field(
        default=20.0, gt=0, description="how long a host of media may be silent"
    )
    media_allowed_hosts: str = Field(
        default="",
        description="private hosts that tasks may point to, as host:port, separated by commas",
    )
    media_allowed_dirs: str = Field(
        default="", description="folders whose files tasks may name, separated by commas"
    )

    workers: int = Field(default=4, ge=1, description="requests that compute at the same time")
    queue_length: int = Field(default=64, ge=1, description="requests that wait; beyond: 503")
    max_request_mb: int = Field(default=32, ge=1, description="largest request; beyond: 413")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least important lines that are logged"
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="lines for people, or a JSON object a line for collectors"
    )

    @model_validator(mode="after")
    def _whole_basic_auth(self) -> Self:
        if bool(self.basic_auth_user) != bool(self.basic_auth_password):
            raise ValueError("Basic auth needs both LABELPILOT_BASIC_AUTH_USER and _PASSWORD")
        return self

    @field_validator("queues")
    @classmethod
    def _known_queues(cls, value: str) -> str:
        if unknown := _names(value) - QUEUES:
            raise ValueError(f"there is no {', '.join(sorted(unknown))}, only train and predict")
        return value

    @property
    def queue_names(self) -> frozenset[str]:
        """`queues` as names."""
        return _names(self.queues)

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


def _names(listed: str) -> frozenset[str]:
    """Names that commas separate."""
    return frozenset(filter(None, map(str.strip, listed.split(","))))
