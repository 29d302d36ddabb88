"""Which rows outside of a mapping's filter stand in the place of records is kept.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table; where a mapping has a filter every record is considered anew once, for what stands in its place was not noted."""
    op.create_table(
        "outsider",
        sa.Column("entity", sa.Integer(), nullable=False),
        sa.Column("system", sa.Integer(), nullable=False),
        sa.Column("golden_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("entity", "system", "golden_id"),
        sqlite_with_rowid=False,
    )
    filtered = "SELECT 1 FROM mapping_version AS made WHERE made.entity = cursor.entity AND made.system = cursor.system"
    op.execute(f"""UPDATE cursor SET considered_version = 0 WHERE EXISTS ({filtered} AND made.spec LIKE '%"where":"%')""")
