#pragma once

#include <functional>

#include "device/stream.h"

/// What the open device can do at most, measured: what kernels and models are compared with.
namespace awq::bench {

/// Seconds that the device takes for what `enqueue` puts into the stream.
double device_seconds(const device::Stream& stream, const std::function<void()>& enqueue);

/// Bytes read and written per second by a copy inside the device: its own, or a loop on all multiprocessors, whichever
/// is faster.
double device_copy_bandwidth();

/// Operations per second of cublasLt's product of random square matrices of the type. Random, because a device that
/// multiplies zeros needs less power and runs faster than it ever will. Throws kDevice without the library.
double device_product_peak(kernels::cuda::Half type);

}  // namespace awq::bench
