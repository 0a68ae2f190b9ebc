"""What several machines know together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Clicks, which were in memory before; where the store has a model; who refreshes."""
    op.add_column("micro_versions", sa.Column("archive", sa.String(64)))
    op.add_column(
        "micro_versions",
        sa.Column("archive_bytes", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.add_column(
        "micro_standings",
        sa.Column("announcing_until", sa.Float, nullable=False, server_default="0"),
    )
    op.create_table(
        "sam_prompts",
        sa.Column("place", sa.String(32), primary_key=True),
        sa.Column("region_id", sa.String(32), primary_key=True),
        sa.Column("stamp", sa.String(32), nullable=False),
        sa.Column("drawn_at", sa.Float, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_sam_prompts_drawn_at", "sam_prompts", ["drawn_at"])
