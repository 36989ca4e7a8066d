"""Images: files in and out (``files``), colour and depth (``colour``), antialiased bicubic (``resample``)."""
