"""In which run a row was deleted is kept beside its key, so that its record can have that again.

Revision ID: 0023
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Add the column; the keys of what was deleted before are not given back."""
    op.add_column("former_key", sa.Column("run", sa.BigInteger(), nullable=True))
