"""Videos through the engine: frames in, restored frames out, and everything else in the file as it was.

    source -> frames (planes | RGB) -> segments -> mux

Frames stay YUV: a luma network takes the Y plane, chroma goes by bicubic on its own grid; only a network of RGB, or a
picture file, sees RGB. What is restored is encoded in segments that a killed run can go on from; the last step joins
them with the sound, subtitles and tags of the source, which are copied. Needs the extra `video` (PyAV).
"""
