"""The process in which a dead job is rehearsed: what it would send is told to who started it, and nothing leaves."""
