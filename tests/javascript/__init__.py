"""Producers in JavaScript: what a program that is neither Python nor ours has to do, and no more."""
