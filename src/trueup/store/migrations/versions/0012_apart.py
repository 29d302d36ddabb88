"""What systems hold apart is found without reading the whole history.

Revision ID: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Index the few lines that tell of it."""
    apart = sa.text("kind = 'apart'")
    op.create_index("history_apart", "history", ["entity"], sqlite_where=apart, postgresql_where=apart)
