"""What all verbs of the command line share: their list, options, output, exit codes, and one error handler."""
