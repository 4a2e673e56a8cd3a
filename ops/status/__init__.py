"""The health of sources, from the storage's own times and from what their hosts report."""
