#pragma once

#include <functional>
#include <vector>

namespace cuda_emulation {

/// From now on what is enqueued goes into `into`; null: it is done at once.
void record(std::vector<std::function<void()>>* into);

}  // namespace cuda_emulation
