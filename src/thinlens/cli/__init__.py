"""The command line: one file per verb.

`app` holds the table of verbs, `verb` turns every error into one line and an exit code, `options` holds what several
verbs share, `output` and `progress` what they print. NumPy, Pillow and torch are imported inside the verbs' functions
only, so that help and version come at once.
"""
