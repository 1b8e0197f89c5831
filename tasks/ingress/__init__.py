"""Messages of programs that know nothing of this platform but a JSON envelope, by whatever way they come.

envelope reads one, accepting makes the job, or the dead letter, and whoever received it acknowledges it then.
"""
