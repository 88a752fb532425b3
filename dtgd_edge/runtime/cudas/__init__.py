"""One file per Python binding of CUDA, each with one class that satisfies `dtgd_edge.runtime.cuda.Cuda`."""
