"""Folders that lie elsewhere, in a bucket of S3 or on an SFTP server: who asks, and what their answers mean."""
