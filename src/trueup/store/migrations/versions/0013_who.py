"""Who asked for a run, who decided about what a guard had held, and the history of one record found by its number alone.

Revision ID: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the columns; of what was done before it is not known here, and the audit trail tells."""
    op.add_column("run", sa.Column("who", sa.Text(), nullable=True))
    op.add_column("hold", sa.Column("decided_by", sa.Text(), nullable=True))
    op.drop_index("history_golden", table_name="history")
    op.create_index("history_golden", "history", ["golden_id", "entity"])
