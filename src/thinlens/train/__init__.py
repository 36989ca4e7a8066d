"""Everything that needs torch: ``pip install 'thinlens[train]'``. The only folder that imports it."""
