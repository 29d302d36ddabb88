"""Where a system can tell which rows were touched since a reading: the mark of that reading.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the mark of the last complete reading."""
    op.add_column("cursor", sa.Column("mark", sa.Text(), nullable=True))
