"""Pure rendering: typed values in, the text of one file out. No engine, no network, no clock."""
