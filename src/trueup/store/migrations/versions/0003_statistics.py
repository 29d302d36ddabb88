"""What SQLite should believe about the sizes of indexes: without being told it reads all rows of an entity to find those of one record.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

# Rows in the index, then per leading column how many rows share it (https://www.sqlite.org/fileformat2.html#stat1tab). The numbers are
# those of a large state and stay as they are: a small one is fast in any case, and plans that change with the data cannot be tested.
STATISTICS = (
    ("shadow", "shadow", "1000000 500000 100000 1"),
    ("shadow", "shadow_link", "1000000 500000 2 1 1"),
    ("shadow", "shadow_sent", "1000 500 100 1"),
    ("shadow", "shadow_not_present", "1000 500 100 50 1"),
)


def upgrade() -> None:
    """Write the statistics down; PostgreSQL gathers its own."""
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("ANALYZE sqlite_master")  # makes the table where there is none
    op.execute("DELETE FROM sqlite_stat1")
    for table, index, numbers in STATISTICS:
        op.execute(f"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('{table}', '{index}', '{numbers}')")
