"""The tables of release 0.1.0. Its processes made them by themselves: those stay as they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make what is not there."""
    _advise()
    _audits()
    _autoaccept()
    _consensus()
    _impacts()
    _jobs()
    _micro()
    _projects()
    _reviews()


def _advise() -> None:
    op.create_table(
        "advise_plans",
        sa.Column("project_key", sa.String(length=200), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_key"),
        if_not_exists=True,
    )
    op.create_table(
        "advise_points",
        sa.Column("project_key", sa.String(length=200), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("made_by", sa.String(length=40), nullable=False),
        sa.Column("family", sa.String(length=40), nullable=False),
        sa.Column("budget_s", sa.Float(), nullable=False),
        sa.Column("scores", sa.Text(), nullable=False),
        sa.Column("train", sa.Text(), nullable=False),
        sa.Column("test", sa.Text(), nullable=False),
        sa.Column("took_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "scope", "id"),
        if_not_exists=True,
    )


def _audits() -> None:
    op.create_table(
        "audits",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("drawn_at", sa.Float(), nullable=False),
        sa.Column("spent_on", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "task_id"),
        if_not_exists=True,
    )
    op.create_table(
        "audits_ever",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "task_id"),
        if_not_exists=True,
    )


def _autoaccept() -> None:
    op.create_table(
        "autoaccept_certificates",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("max_error", sa.Float(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("audited", sa.Integer(), nullable=False),
        sa.Column("above", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("upper", sa.Float(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("min_iou", sa.Float(), server_default="0.5", nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("withdrawn_at", sa.Float()),
        sa.Column("groups", sa.Text(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_autoaccept_certificates_project_key",
        "autoaccept_certificates",
        ["project_key"],
        if_not_exists=True,
    )
    op.create_table(
        "autoaccept_checks",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("certificate", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("drawn_at", sa.Float(), nullable=False),
        sa.Column("wrong", sa.Integer()),
        sa.Column("judged_at", sa.Float()),
        sa.PrimaryKeyConstraint("project_key", "task_id"),
        if_not_exists=True,
    )
    op.create_table(
        "autoaccept_log",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("certificate", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("fate", sa.String(length=32), nullable=False),
        sa.Column("annotation_id", sa.Integer()),
        sa.Column("stored_at", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "task_id", "certificate"),
        if_not_exists=True,
    )
    op.create_table(
        "autoaccept_looks",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "name"),
        if_not_exists=True,
    )
    op.create_table(
        "autoaccept_standings",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("audits_to", sa.Integer(), nullable=False),
        sa.Column("suspended", sa.Text(), nullable=False),
        sa.Column("resumed_at", sa.Float(), nullable=False),
        sa.Column("runner", sa.String(length=64), nullable=False),
        sa.Column("runner_until", sa.Float(), nullable=False),
        sa.Column("last", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_key"),
        if_not_exists=True,
    )
    op.create_table(
        "certified_annotations",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "task_id"),
        if_not_exists=True,
    )


def _consensus() -> None:
    op.create_table(
        "consensus_annotated",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "task_id"),
        if_not_exists=True,
    )
    op.create_table(
        "consensus_reports",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_key"),
        if_not_exists=True,
    )


def _impacts() -> None:
    op.create_table(
        "impacts",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_key"),
        if_not_exists=True,
    )


def _jobs() -> None:
    op.create_table(
        "job_failures",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("failed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "task_id"),
        if_not_exists=True,
    )
    op.create_table(
        "job_tasks",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("turn_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("frames_done", sa.Integer(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "version", "task_id"),
        if_not_exists=True,
    )
    op.create_index("ix_job_tasks_job_id", "job_tasks", ["job_id"], if_not_exists=True)
    op.create_index("ix_job_tasks_turn_id", "job_tasks", ["turn_id"], if_not_exists=True)
    op.create_table(
        "job_turns",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.Column("delays", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=32)),
        sa.Column("not_before", sa.Float(), nullable=False),
        sa.Column("made_at", sa.Float(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("ix_job_turns_job_id", "job_turns", ["job_id"], if_not_exists=True)
    op.create_index("ix_job_turns_state", "job_turns", ["state"], if_not_exists=True)
    op.create_table(
        "job_unshown",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "task_id"),
        if_not_exists=True,
    )
    op.create_table(
        "job_workers",
        sa.Column("executor_id", sa.String(length=200), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("executor_id"),
        if_not_exists=True,
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("config_digest", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), server_default="prelabel", nullable=False),
        sa.Column("options", sa.Text()),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("listed_to", sa.Integer(), nullable=False),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("stored", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("blind", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worked_s", sa.Float(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float()),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("ix_jobs_project_key", "jobs", ["project_key"], if_not_exists=True)
    op.create_index("ix_jobs_state", "jobs", ["state"], if_not_exists=True)


def _micro() -> None:
    op.create_table(
        "micro_current",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=500), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("project_key", "scope"),
        if_not_exists=True,
    )
    op.create_table(
        "micro_labelled",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("predicted", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("own_only", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("project_key", "task_id"),
        if_not_exists=True,
    )
    op.create_table(
        "micro_shown",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("project_key"),
        if_not_exists=True,
    )
    op.create_table(
        "micro_standings",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("touched_at", sa.Float(), nullable=False),
        sa.Column("asked_in", sa.Integer(), nullable=False),
        sa.Column("tasks_came_in", sa.Integer(), nullable=False),
        sa.Column("labels", sa.Integer(), nullable=False),
        sa.Column("synced_to", sa.Text(), nullable=False),
        sa.Column("announced", sa.Text(), nullable=False),
        sa.Column("announced_of", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("step", sa.Text()),
        sa.Column("begun", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("project_key"),
        if_not_exists=True,
    )
    op.create_table(
        "micro_versions",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=500), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("labels", sa.Integer(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("quality", sa.Float()),
        sa.Column("baseline", sa.Float()),
        sa.Column("f1", sa.Float()),
        sa.Column("rival", sa.Float()),
        sa.Column("parent", sa.Text()),
        sa.Column("promoted_at", sa.Float()),
        sa.Column("is_on_disk", sa.Integer(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("lost", sa.Float()),
        sa.PrimaryKeyConstraint("project_key", "scope", "id"),
        if_not_exists=True,
    )


def _projects() -> None:
    op.create_table(
        "projects",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("access_token", sa.Text()),
        sa.Column("label_config", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        if_not_exists=True,
    )


def _reviews() -> None:
    op.create_table(
        "review_cases",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("position", sa.Integer()),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("suspect", sa.Text(), nullable=False),
        sa.Column("known", sa.Integer()),
        sa.Column("verdict", sa.Integer()),
        sa.Column("answered_at", sa.Float()),
        sa.PrimaryKeyConstraint("project_key", "id"),
        if_not_exists=True,
    )
    op.create_table(
        "reviews",
        sa.Column("project_key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("judged", sa.Integer(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_key"),
        if_not_exists=True,
    )
