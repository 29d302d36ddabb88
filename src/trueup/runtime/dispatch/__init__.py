"""Several processes on one state in PostgreSQL: who leads, who works, and how passes and batches of rows are handed from one to another."""
