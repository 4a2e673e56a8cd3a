"""The history that the storage keeps of one repository: versions, delete markers, their dates, and what was done to them."""
