"""A Django app with the row that a project without a platform writes for each job."""
