"""The service: the same federation behind REST, for clients that hold no more than an address and a
key.
"""
