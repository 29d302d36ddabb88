"""What systems tell by webhooks waits in a table, in a state in PostgreSQL; a state in a file has a file for it.

Revision ID: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the table."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("object", sa.Text()),
        sa.Column("key", sa.Text()),
        sa.Column("event_id", sa.Text()),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger()),
        sa.Column("record", sa.Text()),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger()),
    )
    known = sa.text("event_id IS NOT NULL")
    op.create_index("inbox_once", "inbox", ["system", "event_id", "item"], unique=True, postgresql_where=known)
    op.create_index("inbox_waiting", "inbox", ["id"], postgresql_where=sa.text("done_at IS NULL"))
    op.create_index("inbox_done", "inbox", ["done_at"], postgresql_where=sa.text("done_at IS NOT NULL"))
    record = sa.text("md5(record)")  # the text may be longer than an index takes
    op.create_index("inbox_record", "inbox", ["system", record], postgresql_where=sa.text("record IS NOT NULL"))
