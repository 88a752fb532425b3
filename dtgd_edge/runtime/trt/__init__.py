"""TensorRT, TensorRT for RTX and the lean runtime through the parts of their API they share.

    surface.py  every name of TensorRT's API that is used here; the tests hold the other files to it
    library.py  which of the three modules is installed and what it can do
    log.py      what TensorRT says: errors to raise, progress to show, Ctrl-C to obey
    builder.py  ONNX to plan
    engine.py   plan to open engine
    build.py    bundle to cached plan

No TensorRT runtime object is made here before a CUDA device has answered.
"""
