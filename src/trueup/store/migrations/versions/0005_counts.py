"""How many records of an entity live is kept; the runs that have not ended are found without reading all.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Count once, and make the index."""
    op.execute(
        "INSERT INTO counter (name, value) SELECT 'alive:' || entity, count(*) FROM golden"
        " WHERE deleted_at IS NULL AND alias_of IS NULL GROUP BY entity"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    )
    running = sa.text("status = 'running'")
    op.create_index("run_running", "run", ["id"], sqlite_where=running, postgresql_where=running)
