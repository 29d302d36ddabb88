"""Which rows a run created is kept, a compressed frame per batch.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table (what earlier runs created is not known), and let the next run make the views anew: a link has one more state."""
    op.create_table(
        "created",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("run", sa.BigInteger, nullable=False),
        sa.Column("entity", sa.Integer, nullable=False),
        sa.Column("system", sa.Integer, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("created_run", "created", ["run"])
    op.execute("DELETE FROM meta WHERE key = 'shapes of views'")
