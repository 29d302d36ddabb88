"""What was told to whom of troubles that last, and conflicts found by when they were settled.

Revision ID: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Make the table of alerts; index the settled conflicts."""
    op.create_table(
        "alert",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("rule", "subject"),
        sqlite_with_rowid=False,
    )
    settled = sa.text("closed_at IS NOT NULL")
    op.create_index("conflict_settled", "conflict", ["closed_at"], sqlite_where=settled, postgresql_where=settled)
