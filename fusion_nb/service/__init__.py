"""Federations over HTTP: a client needs the server's address and a key, and no fusion_nb."""
