"""The index of match values by record becomes a table, which a first load fills as it goes.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table from what is indexed, and drop the index."""
    op.create_table(
        "match_golden",
        sa.Column("entity", sa.Integer(), nullable=False),
        sa.Column("golden_id", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.SmallInteger(), nullable=False),
        sa.Column("hash", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entity", "golden_id", "rule", "hash"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO match_golden (entity, golden_id, rule, hash)"
        " SELECT entity, golden_id, rule, hash FROM match_key ORDER BY entity, golden_id, rule, hash"
    )
    op.drop_index("match_key_golden", table_name="match_key")
