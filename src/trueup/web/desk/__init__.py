"""The desk: the process that serves the dashboard and the API, behind the receiver's port, begun when somebody first asks for it."""
