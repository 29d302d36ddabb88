"""Under which keys rows stood that are gone is kept, for others may name them.

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table; what rows of earlier runs were called is not known."""
    op.create_table(
        "former_key",
        sa.Column("entity", sa.Integer(), nullable=False),
        sa.Column("system", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("golden_id", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("entity", "system", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("former_key_golden", "former_key", ["entity", "system", "golden_id"])
    due = sa.text("due")
    op.create_index("former_key_due", "former_key", ["entity"], sqlite_where=due, postgresql_where=due)
