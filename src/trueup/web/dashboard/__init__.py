"""The dashboard: pages on NiceGUI for people who live with a sync and not in a terminal. `app.py` mounts it."""
