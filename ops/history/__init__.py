"""What the storage remembers of one repository: versions, delete markers, dates, and what was done to it."""
