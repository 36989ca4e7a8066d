"""File fidelity of any upscaler's command: what goes into a file must come out of it.

``inputs`` makes files, ``outputs`` reads what an upscaler made of them, ``checks`` compares, ``suite`` runs a command
over all, ``table`` prints. Nothing of thinlens is imported, so that the judge owes nothing to the judged; reading is
libvips' and Pillow's, resampling Pillow's.
"""
