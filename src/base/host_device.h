#pragma once

/// Marks functions that CUDA code may call on a device too.
#ifdef __CUDACC__
#define AWQ_HOST_DEVICE __host__ __device__
#else
#define AWQ_HOST_DEVICE
#endif
