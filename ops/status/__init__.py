"""Whether sources are healthy: from the storage's own times, and from what their hosts say."""
