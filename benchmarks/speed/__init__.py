"""What a round costs here and elsewhere: how times are taken, and what others do with the same
rows.
"""
