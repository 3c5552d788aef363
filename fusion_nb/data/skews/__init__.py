"""Skews: ways in which parties' data differ, by the names of the field, one file each."""
