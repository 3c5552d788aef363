"""Asynchronous rounds in real time: parties are asked as soon as they are free."""
