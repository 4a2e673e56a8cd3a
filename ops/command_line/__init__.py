"""What all verbs of the command line share: the list of them, options, output, exit codes, and one handler for errors."""
