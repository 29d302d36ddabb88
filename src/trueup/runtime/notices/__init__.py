"""Tells others of changes of golden records: signed messages to subscribed addresses.

`message.py` tells of a record that moved, `post.py` sends one message to one address, `sending.py` does what is due for one subscriber.
"""
