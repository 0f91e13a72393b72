"""Signals: what a run tells others once it has ended; records in, messages out. Nothing here can make a run fail."""
