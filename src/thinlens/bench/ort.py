"""ONNX Runtime as a peer; imports nothing else, so that a process whose memory is measured holds nothing else."""

from typing import Any


def open_onnx(data: bytes | str, threads: int) -> Any:
    """A session on the processor of the bytes of an ONNX model, or of its file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.force_spinning_stop", "1")  # else its threads wait busily in our turns
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
